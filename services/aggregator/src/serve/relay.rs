//! A replica's relay stream: receives the ends of requests that it observed, sends those of requests that it
//! booked. They are not part of the pool state, so they bypass the pool's actor.

use signalbox_protos::signalbox::v1::RequestEndBatch;
use signalbox_tls::PeerCertificate;
use signalbox_types::ReplicaKey;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{Outgoing, StreamContext, not_the_owner, start};

/// Batches that can queue until the replica reads them.
const MAX_QUEUED_BATCHES: usize = 64;

pub(super) fn serve(
    context: StreamContext,
    certificate: PeerCertificate,
    inbound: Streaming<RequestEndBatch>,
) -> Outgoing<RequestEndBatch> {
    start(
        MAX_QUEUED_BATCHES,
        |sender| async move { exchange(&context, &certificate, inbound, &sender).await },
    )
}

async fn exchange(
    context: &StreamContext,
    certificate: &PeerCertificate,
    mut inbound: Streaming<RequestEndBatch>,
    sender: &mpsc::Sender<Result<RequestEndBatch, Status>>,
) -> Result<(), Status> {
    let Some(mut first) = inbound.message().await? else { return Ok(()) };
    let peer = context.accept_as_owner(certificate, first.hello.take())?;
    let (replica, stream) = (ReplicaKey::of(&peer.name), context.next_stream());
    let relay = &peer.pool.request_ends;
    relay.join(replica, stream, sender.clone());
    let receive = async {
        let mut next = Some(first);
        while let Some(message) = next {
            let ends = signalbox_wire::decode_request_ends(message)
                .map_err(|error| context.reject_message(&peer.name, &error))?;
            context.metrics.request_ends_relayed.inc_by(ends.len() as u64);
            context.metrics.request_ends_undelivered.inc_by(relay.relay(ends) as u64);
            next = inbound.message().await?;
        }
        Ok(())
    };
    let ended = tokio::select! {
        ended = receive => ended,
        () = peer.pool.ownership_lost() => Err(not_the_owner(&peer.pool)),
    };
    relay.leave(replica, stream);
    ended
}
