//! Where the aggregators are.

use signalbox_types::PeerAddress;
use tokio::sync::watch;

use crate::board::tell;
use crate::{Coordinator, Member, Role};

/// The aggregators that are given, and those that `coordinator` knows, but for the one called `but`.
pub fn aggregators(
    given: Vec<PeerAddress>,
    coordinator: Option<&Coordinator>,
    but: Option<&str>,
) -> watch::Receiver<Vec<PeerAddress>> {
    let (sender, receiver) = watch::channel(merged(&given, &[], but));
    let mut members = match coordinator {
        Some(coordinator) => coordinator.members(Role::Aggregator),
        // Nothing changes; the sender lives as long as somebody looks.
        None => {
            tokio::spawn(async move { sender.closed().await });
            return receiver;
        }
    };
    let but = but.map(str::to_owned);
    tokio::spawn(async move {
        loop {
            let now = merged(&given, &members.borrow_and_update(), but.as_deref());
            tell(&sender, now);
            tokio::select! {
                changed = members.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    });
    receiver
}

fn merged(given: &[PeerAddress], members: &[Member], but: Option<&str>) -> Vec<PeerAddress> {
    let others = members.iter().filter(|member| Some(member.name.as_str()) != but);
    let known = others.filter_map(|member| member.address.clone());
    let mut all = Vec::new();
    for address in given.iter().cloned().chain(known) {
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
    fn given_and_known_aggregators_are_one_list_without_oneself() {
        let member = |name: &str, address: &str| Member {
            role: Role::Aggregator,
            name: name.to_owned(),
            address: Some(address.parse().unwrap()),
        };
        let given: Vec<PeerAddress> = vec!["c:1".parse().unwrap(), "a:1".parse().unwrap()];
        let members = [member("me", "me:1"), member("a", "a:1"), member("b", "b:1")];
        let merged: Vec<_> = merged(&given, &members, Some("me")).iter().map(ToString::to_string).collect();
        assert_eq!(["c:1", "a:1", "b:1"], merged[..]);
    }
}
