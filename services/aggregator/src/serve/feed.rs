//! A replica's feedback in, what the owner asks back out.

use signalbox_protos::signalbox::v1::{FeedbackBatch, FeedbackReply};
use signalbox_wire::Reply;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{Desk, Outgoing};
use crate::actors::{Message, OwnerRef};

/// Replies that may wait for a replica to read them.
const REPLIES_WAITING: usize = 64;

pub(super) fn serve(
    desk: &Desk,
    inbound: Streaming<FeedbackBatch>,
) -> Result<Outgoing<FeedbackReply>, Status> {
    let owner = desk.owner()?;
    let (sender, receiver) = mpsc::channel(REPLIES_WAITING);
    let (replies, said) = mpsc::channel(REPLIES_WAITING);
    let desk = desk.clone();
    tokio::spawn(async move {
        tokio::select! {
            refused = read(&desk, &owner, inbound, replies) => {
                if let Err(status) = refused {
                    // Nobody reads it when the replica is gone.
                    let _ = sender.send(Err(status)).await;
                }
            }
            () = write(&desk, said, &sender) => {}
        }
    });
    Ok(Outgoing::new(receiver))
}

async fn read(
    desk: &Desk,
    owner: &OwnerRef,
    mut inbound: Streaming<FeedbackBatch>,
    replies: mpsc::Sender<Reply>,
) -> Result<(), Status> {
    while let Some(message) = inbound.message().await? {
        let feedback = signalbox_wire::feedback(message).map_err(|error| desk.refuse(&error))?;
        let Ok(permit) = desk.permits.clone().acquire_owned().await else { break };
        let fed = Message::Fed { feedback, replies: replies.clone(), permit };
        owner.cast(fed).map_err(|_| Status::unavailable("the pool's owner is gone"))?;
    }
    Ok(())
}

async fn write(
    desk: &Desk,
    mut said: mpsc::Receiver<Reply>,
    sender: &mpsc::Sender<Result<FeedbackReply, Status>>,
) {
    while let Some(reply) = said.recv().await {
        if sender.send(Ok(signalbox_wire::feedback_reply(desk.epoch(), reply))).await.is_err() {
            return;
        }
    }
}
