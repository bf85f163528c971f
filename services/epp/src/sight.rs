//! What the tasks of requests read: the latest view, and what they must not make anew for each request.

use std::net::SocketAddr;
use std::sync::Arc;

use signalbox_extproc::Destination;
use signalbox_state::{Bookings, Replica, View};

/// The latest view of the pool. Replaced whole, never changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight {
    pub(crate) view: View,
    /// What the gateway is told, in the order of the view's members.
    destinations: Arc<[Destination]>,
}

impl Sight {
    /// What `replica` holds now. `before` lends what has not changed.
    pub(crate) fn next(before: &Self, replica: &Replica, bookings: &Bookings, heard_at_ms: u64) -> Self {
        let view = View::next(&before.view, replica, bookings, heard_at_ms);
        let destinations = if addresses(&view).eq(addresses(&before.view)) {
            Arc::clone(&before.destinations)
        } else {
            addresses(&view).map(Destination::from).collect()
        };
        Self { view, destinations }
    }

    pub(crate) fn destination(&self, position: usize) -> Destination {
        self.destinations[position].clone()
    }
}

fn addresses(view: &View) -> impl Iterator<Item = SocketAddr> {
    view.members.iter().map(|member| member.spec.address)
}
