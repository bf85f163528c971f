//! Finds the aggregators of a pool.

use signalbox_types::PeerAddress;
use tokio::sync::watch;

use crate::coordinator::Coordinator;
use crate::membership::{Member, Role};
use crate::registry::send_if_changed;

/// Watches the addresses of aggregators: those that are `given`, and those that are registered at
/// `coordinator`, except the one with the name `except`.
pub fn discover_aggregators(
    given: Vec<PeerAddress>,
    coordinator: Option<&Coordinator>,
    except: Option<&str>,
) -> watch::Receiver<Vec<PeerAddress>> {
    let (sender, receiver) = watch::channel(merge(&given, &[], except));
    let mut members = match coordinator {
        Some(coordinator) => coordinator.members(Role::Aggregator),
        // The list never changes. The sender must live as long as the receivers.
        None => {
            tokio::spawn(async move { sender.closed().await });
            return receiver;
        }
    };
    let except = except.map(str::to_owned);
    tokio::spawn(async move {
        loop {
            let addresses = merge(&given, &members.borrow_and_update(), except.as_deref());
            send_if_changed(&sender, addresses);
            tokio::select! {
                changed = members.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    });
    receiver
}

fn merge(given: &[PeerAddress], members: &[Member], except: Option<&str>) -> Vec<PeerAddress> {
    let others = members.iter().filter(|member| Some(member.name.as_str()) != except);
    let registered = others.filter_map(|member| member.address.clone());
    let mut all = Vec::new();
    for address in given.iter().cloned().chain(registered) {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_and_registered_aggregators_are_merged_without_oneself() {
        let member = |name: &str, address: &str| Member {
            role: Role::Aggregator,
            name: name.to_owned(),
            address: Some(address.parse().unwrap()),
        };
        let given: Vec<PeerAddress> = vec!["c:1".parse().unwrap(), "a:1".parse().unwrap()];
        let members = [member("me", "me:1"), member("a", "a:1"), member("b", "b:1")];
        let merged: Vec<_> = merge(&given, &members, Some("me")).iter().map(ToString::to_string).collect();
        assert_eq!(["c:1", "a:1", "b:1"], merged[..]);
    }
}
