//! A replica's feedback stream: receives feedback, sends the owner's replies.

use signalbox_protos::signalbox::v1::{FeedbackBatch, FeedbackReply};
use signalbox_tls::PeerCertificate;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{Outgoing, StreamContext, StreamPeer, not_the_owner, start};
use crate::pools::{BulkMessage, FeedbackReplies, PoolHandle};

/// Replies that can queue until the replica reads them.
const MAX_QUEUED_REPLIES: usize = 64;

pub(super) fn serve(
    context: StreamContext,
    certificate: PeerCertificate,
    inbound: Streaming<FeedbackBatch>,
) -> Outgoing<FeedbackReply> {
    start(
        MAX_QUEUED_REPLIES,
        |sender| async move { exchange(&context, &certificate, inbound, &sender).await },
    )
}

async fn exchange(
    context: &StreamContext,
    certificate: &PeerCertificate,
    mut inbound: Streaming<FeedbackBatch>,
    sender: &mpsc::Sender<Result<FeedbackReply, Status>>,
) -> Result<(), Status> {
    let Some(mut first) = inbound.message().await? else { return Ok(()) };
    let peer = context.accept_as_owner(certificate, first.hello.take())?;
    let replies = FeedbackReplies::default();
    tokio::select! {
        ended = receive(context, &peer, first, &mut inbound, &replies) => ended,
        () = send(&peer.pool, &replies, sender) => Ok(()),
        () = peer.pool.ownership_lost() => Err(not_the_owner(&peer.pool)),
    }
}

async fn receive(
    context: &StreamContext,
    peer: &StreamPeer,
    first: FeedbackBatch,
    inbound: &mut Streaming<FeedbackBatch>,
    replies: &FeedbackReplies,
) -> Result<(), Status> {
    let (mut next, mut origin) = (Some(first), peer.pool.origins.stream(&peer.identity));
    while let Some(message) = next {
        let permit = peer.budget.admit(signalbox_wire::message_bytes(&message)).await;
        let feedback = signalbox_wire::decode_feedback(message)
            .map_err(|error| context.reject_message(&peer.name, &error))?;
        origin.check(feedback.origin).map_err(|error| context.refuse(&peer.name, &error))?;
        let feedback = BulkMessage::Feedback { feedback, replies: replies.clone(), permit };
        peer.pool
            .bulk
            .push(&peer.actor, feedback)
            .map_err(|_| Status::unavailable("the pool's actor has stopped"))?;
        next = inbound.message().await?;
    }
    Ok(())
}

async fn send(
    pool: &PoolHandle,
    replies: &FeedbackReplies,
    sender: &mpsc::Sender<Result<FeedbackReply, Status>>,
) {
    loop {
        let reply = replies.next().await;
        let epoch = *pool.epoch.borrow();
        if sender.send(Ok(signalbox_wire::encode_feedback_reply(epoch, reply))).await.is_err() {
            return;
        }
    }
}
