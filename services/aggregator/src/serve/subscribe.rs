//! A follower's stream: receives its cursor and its history for a takeover, sends frames.
//!
//! The stream keeps nothing but the follower's cursor. A slow follower falls behind the journal and receives
//! a snapshot. An aggregator that does not own the pool sends `NotOwner` instead of frames.

mod follower;

use signalbox_protos::signalbox::v1::{FollowerMessage, Frame};
use signalbox_tls::PeerCertificate;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use self::follower::Follower;
use super::{Outgoing, StreamContext, start};
use crate::pools::PoolOwnerMessage;

/// Frames that can queue until the follower reads them.
const MAX_QUEUED_FRAMES: usize = 8;

pub(super) fn serve(
    context: StreamContext,
    certificate: PeerCertificate,
    inbound: Streaming<FollowerMessage>,
) -> Outgoing<Frame> {
    start(MAX_QUEUED_FRAMES, |frames| async move { exchange(&context, &certificate, inbound, &frames).await })
}

async fn exchange(
    context: &StreamContext,
    certificate: &PeerCertificate,
    mut inbound: Streaming<FollowerMessage>,
    frames: &mpsc::Sender<Result<Frame, Status>>,
) -> Result<(), Status> {
    let Some(mut first) = inbound.message().await? else { return Ok(()) };
    let follower = Follower::new(context, context.accept(certificate, first.hello.take())?, frames.clone());
    let (id, actor, name) = (follower.id, follower.peer.actor.clone(), follower.peer.name.clone());
    context.metrics.connected_followers.inc();
    tracing::info!(follower = name, stream = id, "follower connected");
    // If the actor has stopped, forwarding the first message fails as well.
    let _ = actor.cast(PoolOwnerMessage::FollowerJoined { follower: id, name: name.clone() });
    let reason = follower.run(context, first, inbound).await;
    context.metrics.connected_followers.dec();
    tracing::info!(follower = name, stream = id, reason, "follower disconnected");
    // This fails if the actor has stopped. Its successor does not know the follower.
    let _ = actor.cast(PoolOwnerMessage::FollowerLeft(id));
    Ok(())
}
