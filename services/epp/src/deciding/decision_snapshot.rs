//! The view that requests read, with what would be costly to build for each request.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use signalbox_extproc::{Destination, SessionTokens};
use signalbox_schedule::session_token;
use signalbox_state::{Bookings, EndpointState, StateReplica, View};

/// The latest view of the pool and what is derived from it. It is replaced as a whole and never changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct DecisionSnapshot {
    pub(crate) view: View,
    /// The same view for recordings, without the prefix index, the loads and the gauges.
    pub(crate) recorded: Arc<View>,
    /// What is derived from the endpoints' addresses and names.
    directory: Arc<Directory>,
}

/// What is derived from the addresses and names of a view's endpoints.
#[derive(Debug, Default)]
struct Directory {
    /// Destinations for the gateway, in the order of the view's endpoints.
    destinations: Vec<Destination>,
    /// The session tokens of the view's endpoints.
    session_tokens: Arc<SessionTokens>,
    /// The position of the first endpoint at each address.
    positions: HashMap<SocketAddr, usize>,
}

impl Directory {
    fn of(view: &View) -> Self {
        let specs = || view.endpoints.iter().map(|member| &member.spec);
        let tokens = specs().map(|spec| (spec.address, session_token(&spec.name)));
        let positions = specs().enumerate().rev().map(|(position, spec)| (spec.address, position));
        Self {
            destinations: specs().map(|spec| Destination::from(spec.address)).collect(),
            session_tokens: Arc::new(tokens.collect()),
            positions: positions.collect(),
        }
    }
}

impl DecisionSnapshot {
    /// Returns the snapshot of what `replica` holds, sharing with `before` what has not changed.
    pub(crate) fn next(before: &Self, replica: &StateReplica, bookings: &Bookings) -> Self {
        let view = View::next(&before.view, replica, bookings);
        let directory = match has_same_names(&before.view, &view) {
            true => Arc::clone(&before.directory),
            false => Arc::new(Directory::of(&view)),
        };
        let recorded = Arc::new(view.to_recorded(&before.recorded));
        Self { view, recorded, directory }
    }

    /// Returns the position of the endpoint at `address` in the view.
    pub(crate) fn position_at(&self, address: SocketAddr) -> Option<usize> {
        self.directory.positions.get(&address).copied()
    }

    /// Returns the destination of the endpoint at `position` in the view.
    pub(crate) fn destination(&self, position: usize) -> Destination {
        self.directory.destinations[position].clone()
    }

    /// Returns the session tokens of the view's endpoints.
    pub(crate) fn session_tokens(&self) -> &Arc<SessionTokens> {
        &self.directory.session_tokens
    }
}

/// Returns whether no endpoint was added or removed between two views or has another address. The keys stand for the
/// names.
fn has_same_names(before: &View, now: &View) -> bool {
    let has_moved = |(_, before, now): (usize, &Arc<EndpointState>, &Arc<EndpointState>)| {
        !Arc::ptr_eq(&before.spec, &now.spec) && before.spec.address != now.spec.address
    };
    now.has_same_descriptions(before)
        || now.endpoints.has_same_keys(&before.endpoints)
            && !now.endpoints.changed_since(&before.endpoints).any(has_moved)
}

#[cfg(test)]
mod tests {
    use signalbox_state::ScrapeStatus;
    use signalbox_types::EndpointKey;

    use super::*;
    use crate::test_support::{FIRST, SECOND, THIRD, pool, replica_of};

    #[test]
    fn recorded_view_does_not_retain_the_index() {
        let bookings = Bookings::new(Arc::new(|| {}));
        let first = DecisionSnapshot::next(&DecisionSnapshot::default(), &StateReplica::default(), &bookings);
        let second = DecisionSnapshot::next(&first, &StateReplica::default(), &bookings);
        assert!(!Arc::ptr_eq(&second.view.index, &second.recorded.index));
        assert!(Arc::ptr_eq(&first.recorded.index, &second.recorded.index));
    }

    #[test]
    fn gauge_of_a_replaced_endpoint_goes_unless_a_request_is_in_flight_there() {
        let bookings = Bookings::new(Arc::new(|| {}));
        let snapshot = |before: &DecisionSnapshot, addresses: &[&str]| {
            DecisionSnapshot::next(before, &replica_of(&pool(addresses, ScrapeStatus::Fresh)), &bookings)
        };
        let first = snapshot(&DecisionSnapshot::default(), &[FIRST, SECOND]);
        let [idle, busy] = [FIRST, SECOND].map(|address| {
            first.view.endpoints.iter().find(|member| member.spec.address.to_string() == address).unwrap().key
        });
        drop(bookings.reserve(idle, 1));
        let in_flight = bookings.reserve(busy, 1);
        let next = snapshot(&first, &[THIRD, "10.0.0.4:80"]);
        assert_eq!(first.view.endpoints.len(), next.view.endpoints.len());
        // A recording of the first view must not keep its gauges.
        let _recorded = Arc::clone(&first.recorded);
        drop(first);
        let has_gauge = |endpoint: EndpointKey| {
            bookings.take_changed();
            bookings.remove_unused();
            format!("{bookings:?}").contains(&format!("endpoint: {endpoint:?}"))
        };
        assert_eq!([false, true], [idle, busy].map(has_gauge));
        drop(in_flight);
        assert_eq!([false, false], [idle, busy].map(has_gauge));
        assert!(next.view.endpoints.iter().all(|member| has_gauge(member.key)));
    }

    #[test]
    fn directory_is_shared_until_an_address_changes() {
        let bookings = Bookings::new(Arc::new(|| {}));
        let snapshot = |before: &DecisionSnapshot, addresses: &[&str], status| {
            DecisionSnapshot::next(before, &replica_of(&pool(addresses, status)), &bookings)
        };
        let first = snapshot(&DecisionSnapshot::default(), &[FIRST, SECOND], ScrapeStatus::Fresh);
        let second = snapshot(&first, &[FIRST, SECOND], ScrapeStatus::Stale);
        assert!(Arc::ptr_eq(&first.directory, &second.directory));
        let third = snapshot(&second, &[FIRST, SECOND, THIRD], ScrapeStatus::Stale);
        for (position, member) in third.view.endpoints.iter().enumerate() {
            assert_eq!(Some(position), third.position_at(member.spec.address));
        }
        assert_eq!(None, second.position_at(THIRD.parse().unwrap()));
    }
}
