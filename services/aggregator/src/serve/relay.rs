//! Ends of requests, from the replica that heard of them to the one that booked them. They are no part of the pool's state, so no
//! steward is asked.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use signalbox_protos::signalbox::v1::RequestEndBatch;
use signalbox_types::{Ended, ReplicaKey};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{Outgoing, StreamContext, not_the_owner};

/// Batches that may wait for a replica to read them.
const BATCHES_WAITING: usize = 64;

type Sender = mpsc::Sender<Result<RequestEndBatch, Status>>;

/// The replicas of a pool that can be told of ends.
#[derive(Debug, Default)]
pub(crate) struct Relays(Mutex<BTreeMap<ReplicaKey, (u64, Sender)>>);

impl Relays {
    fn join(&self, replica: ReplicaKey, stream: u64, sender: Sender) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(replica, (stream, sender));
    }

    /// The replica may have opened another stream meanwhile, which stays.
    fn leave(&self, replica: ReplicaKey, stream: u64) {
        let mut relays = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if relays.get(&replica).is_some_and(|(known, _)| *known == stream) {
            relays.remove(&replica);
        }
    }

    /// Says how many could not be passed on: their replica is away, or does not read.
    fn pass_on(&self, ends: Vec<Ended>) -> usize {
        let mut by_replica: BTreeMap<ReplicaKey, Vec<Ended>> = BTreeMap::new();
        for ended in ends {
            by_replica.entry(ended.booking.replica).or_default().push(ended);
        }
        let relays = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = by_replica.into_iter().filter(|(replica, ends)| {
            let batch = || Ok(signalbox_wire::ended_batch(None, ends));
            relays.get(replica).is_none_or(|(_, sender)| sender.try_send(batch()).is_err())
        });
        lost.map(|(_, ends)| ends.len()).sum()
    }
}

pub(super) fn serve(
    context: StreamContext,
    inbound: Streaming<RequestEndBatch>,
) -> Outgoing<RequestEndBatch> {
    let (sender, receiver) = mpsc::channel(BATCHES_WAITING);
    tokio::spawn(async move {
        if let Err(status) = exchange(&context, inbound, &sender).await {
            // Nobody reads it when the replica is gone.
            let _ = sender.send(Err(status)).await;
        }
    });
    Outgoing::new(receiver)
}

async fn exchange(
    context: &StreamContext,
    mut inbound: Streaming<RequestEndBatch>,
    sender: &Sender,
) -> Result<(), Status> {
    let Some(mut first) = inbound.message().await? else { return Ok(()) };
    let met = context.meet_as_owner(first.hello.take())?;
    let (replica, stream) = (ReplicaKey::of(&met.name), context.next_stream());
    let relays = &met.board.relays;
    relays.join(replica, stream, sender.clone());
    let read = async {
        let mut next = Some(first);
        while let Some(message) = next {
            let ends = signalbox_wire::ended(message).map_err(|error| context.refuse(&met.name, &error))?;
            context.metrics.ends_relayed.inc_by(ends.len() as u64);
            context.metrics.ends_lost.inc_by(relays.pass_on(ends) as u64);
            next = inbound.message().await?;
        }
        Ok(())
    };
    let ended = tokio::select! {
        ended = read => ended,
        () = met.board.not_owned() => Err(not_the_owner(&met.board)),
    };
    relays.leave(replica, stream);
    ended
}

#[cfg(test)]
mod tests {
    use signalbox_types::BookingId;

    use super::*;

    fn ended(replica: ReplicaKey, number: u64) -> Ended {
        Ended { booking: BookingId { replica, number }, status: Some(200), served: None, first_byte: None }
    }

    #[test]
    fn an_end_goes_to_the_replica_that_booked_the_request_and_to_nobody_else() {
        let (relays, [one, other, gone]) = (Relays::default(), ["1", "2", "3"].map(ReplicaKey::of));
        let (sender, mut first) = mpsc::channel(1);
        relays.join(one, 1, sender);
        let (sender, mut second) = mpsc::channel(1);
        relays.join(other, 2, sender);
        assert_eq!(1, relays.pass_on(vec![ended(one, 7), ended(gone, 8), ended(one, 9)]));
        let batch = signalbox_wire::ended(first.try_recv().unwrap().unwrap()).unwrap();
        assert_eq!(vec![ended(one, 7), ended(one, 9)], batch);
        assert!(second.try_recv().is_err());
    }

    #[test]
    fn who_does_not_read_loses_and_a_stream_that_ends_does_not_take_a_newer_one_away() {
        let (relays, one) = (Relays::default(), ReplicaKey::of("1"));
        let (sender, _unread) = mpsc::channel(1);
        relays.join(one, 1, sender);
        let lost = [(); 2].map(|()| relays.pass_on(vec![ended(one, 7)]));
        assert_eq!([0, 1], lost);
        let (sender, _receiver) = mpsc::channel(1);
        relays.join(one, 2, sender);
        relays.leave(one, 1);
        assert_eq!(0, relays.pass_on(vec![ended(one, 7)]));
        relays.leave(one, 2);
        assert_eq!(1, relays.pass_on(vec![ended(one, 7)]));
    }
}
