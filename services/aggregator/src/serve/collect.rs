//! A collector's stream: receives reports, sends assignments.

use signalbox_protos::signalbox::v1::{CollectorAssignment, CollectorMessage};
use signalbox_state::{AssignedEndpoint, CollectorStream};
use signalbox_tls::PeerCertificate;
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

use super::{Outgoing, StreamContext, StreamPeer, not_the_owner, start};
use crate::pools::{BulkMessage, CollectorReports, PoolHandle, PoolOwnerMessage};

pub(super) fn serve(
    context: StreamContext,
    certificate: PeerCertificate,
    inbound: Streaming<CollectorMessage>,
) -> Outgoing<CollectorAssignment> {
    start(1, |sender| async move { exchange(&context, &certificate, inbound, &sender).await })
}

async fn exchange(
    context: &StreamContext,
    certificate: &PeerCertificate,
    mut inbound: Streaming<CollectorMessage>,
    sender: &mpsc::Sender<Result<CollectorAssignment, Status>>,
) -> Result<(), Status> {
    let Some(mut first) = inbound.message().await? else { return Ok(()) };
    let peer = context.accept_as_owner(certificate, first.hello.take())?;
    let stream = CollectorStream(context.next_stream());
    let (assignment, assigned) = watch::channel(Vec::new());
    let name = peer.name.clone();
    tracing::info!(collector = name, stream = stream.0, "collector connected");
    context.metrics.connected_collectors.inc();
    let joined = PoolOwnerMessage::CollectorJoined { stream, name: name.clone(), assignment };
    let is_actor_gone = peer.actor.cast(joined).is_err();
    let ended = tokio::select! {
        _ = std::future::ready(()), if is_actor_gone => Ok(()),
        ended = receive(context, &peer, stream, first, &mut inbound) => ended,
        () = send(&peer.pool, assigned, sender) => Ok(()),
        () = peer.pool.ownership_lost() => Err(not_the_owner(&peer.pool)),
    };
    context.metrics.connected_collectors.dec();
    tracing::info!(collector = name, stream = stream.0, "collector disconnected");
    // This fails if the actor has stopped. Its successor does not know the stream.
    let _ = peer.actor.cast(PoolOwnerMessage::CollectorLeft(stream));
    ended
}

async fn receive(
    context: &StreamContext,
    peer: &StreamPeer,
    stream: CollectorStream,
    first: CollectorMessage,
    inbound: &mut Streaming<CollectorMessage>,
) -> Result<(), Status> {
    let mut next = Some(first);
    while let Some(message) = next {
        let permit = peer.budget.admit(signalbox_wire::message_bytes(&message)).await;
        let epoch = message.epoch;
        let reports = signalbox_wire::decode_reports(message)
            .map_err(|error| context.reject_message(&peer.name, &error))?;
        let reports = BulkMessage::Reports(CollectorReports { stream, epoch, reports }, permit);
        peer.pool
            .bulk
            .push(&peer.actor, reports)
            .map_err(|_| Status::unavailable("the pool's actor has stopped"))?;
        next = inbound.message().await?;
    }
    Ok(())
}

/// Sends assignments until the actor drops the collector or the collector is gone.
async fn send(
    pool: &PoolHandle,
    mut assigned: watch::Receiver<Vec<AssignedEndpoint>>,
    sender: &mpsc::Sender<Result<CollectorAssignment, Status>>,
) {
    while assigned.changed().await.is_ok() {
        let (endpoints, epoch) = (assigned.borrow_and_update().clone(), *pool.epoch.borrow());
        if sender.send(Ok(signalbox_wire::encode_assignment(epoch, endpoints))).await.is_err() {
            return;
        }
    }
}
