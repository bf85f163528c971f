//! Relays the ends of requests between replicas.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use signalbox_protos::signalbox::v1::RequestEndBatch;
use signalbox_types::{ReplicaKey, RequestEnd};
use tokio::sync::mpsc;
use tonic::Status;

type Sender = mpsc::Sender<Result<RequestEndBatch, Status>>;

/// The streams on which a pool's replicas receive the ends of requests that they have booked.
#[derive(Debug, Default)]
pub(crate) struct RequestEndRelay(Mutex<BTreeMap<ReplicaKey, (u64, Sender)>>);

impl RequestEndRelay {
    pub(crate) fn join(&self, replica: ReplicaKey, stream: u64, sender: Sender) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(replica, (stream, sender));
    }

    /// Removes the replica's stream, unless the replica has opened another one in the meantime.
    pub(crate) fn leave(&self, replica: ReplicaKey, stream: u64) {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if streams.get(&replica).is_some_and(|(current, _)| *current == stream) {
            streams.remove(&replica);
        }
    }

    /// Sends each end to the replica that booked the request. Returns how many could not be delivered,
    /// because their replica has no stream or does not read.
    pub(crate) fn relay(&self, ends: Vec<RequestEnd>) -> usize {
        let mut by_replica: BTreeMap<ReplicaKey, Vec<RequestEnd>> = BTreeMap::new();
        for end in ends {
            by_replica.entry(end.booking.replica).or_default().push(end);
        }
        let streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let undelivered = by_replica.into_iter().filter(|(replica, ends)| {
            let batch = || Ok(signalbox_wire::encode_request_ends(None, ends));
            streams.get(replica).is_none_or(|(_, sender)| sender.try_send(batch()).is_err())
        });
        undelivered.map(|(_, ends)| ends.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use signalbox_types::BookingId;

    use super::*;

    fn end(replica: ReplicaKey, number: u64) -> RequestEnd {
        RequestEnd {
            booking: BookingId { replica, number },
            status: Some(200),
            served: None,
            first_byte: None,
        }
    }

    #[test]
    fn end_is_relayed_only_to_the_replica_that_booked_the_request() {
        let (relay, [one, other, gone]) = (RequestEndRelay::default(), ["1", "2", "3"].map(ReplicaKey::of));
        let (sender, mut first) = mpsc::channel(1);
        relay.join(one, 1, sender);
        let (sender, mut second) = mpsc::channel(1);
        relay.join(other, 2, sender);
        assert_eq!(1, relay.relay(vec![end(one, 7), end(gone, 8), end(one, 9)]));
        let batch = signalbox_wire::decode_request_ends(first.try_recv().unwrap().unwrap()).unwrap();
        assert_eq!(vec![end(one, 7), end(one, 9)], batch);
        assert!(second.try_recv().is_err());
    }

    #[test]
    fn replica_that_does_not_read_misses_ends() {
        let (relay, one) = (RequestEndRelay::default(), ReplicaKey::of("1"));
        let (sender, _unread) = mpsc::channel(1);
        relay.join(one, 1, sender);
        let undelivered = [(); 2].map(|()| relay.relay(vec![end(one, 7)]));
        assert_eq!([0, 1], undelivered);
    }

    #[test]
    fn end_of_an_older_stream_does_not_remove_a_newer_one() {
        let (relay, one) = (RequestEndRelay::default(), ReplicaKey::of("1"));
        let (sender, _unread) = mpsc::channel(1);
        relay.join(one, 1, sender);
        let (sender, _receiver) = mpsc::channel(1);
        relay.join(one, 2, sender);
        relay.leave(one, 1);
        assert_eq!(0, relay.relay(vec![end(one, 7)]));
        relay.leave(one, 2);
        assert_eq!(1, relay.relay(vec![end(one, 7)]));
    }
}
