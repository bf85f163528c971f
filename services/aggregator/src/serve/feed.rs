//! A replica's feedback in, what the owner asks back out.

use signalbox_protos::signalbox::v1::{FeedbackBatch, FeedbackReply};
use signalbox_wire::Reply;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{Counterpart, Outgoing, StreamContext, not_the_owner};
use crate::actors::Message;
use crate::pools::Board;

/// Replies that may wait for a replica to read them.
const REPLIES_WAITING: usize = 64;

pub(super) fn serve(context: StreamContext, inbound: Streaming<FeedbackBatch>) -> Outgoing<FeedbackReply> {
    let (sender, receiver) = mpsc::channel(REPLIES_WAITING);
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
    mut inbound: Streaming<FeedbackBatch>,
    sender: &mpsc::Sender<Result<FeedbackReply, Status>>,
) -> Result<(), Status> {
    let Some(mut first) = inbound.message().await? else { return Ok(()) };
    let met = context.meet_as_owner(first.hello.take())?;
    let (replies, said) = mpsc::channel(REPLIES_WAITING);
    tokio::select! {
        ended = read(context, &met, first, &mut inbound, replies) => ended,
        () = write(&met.board, said, sender) => Ok(()),
        () = met.board.not_owned() => Err(not_the_owner(&met.board)),
    }
}

async fn read(
    context: &StreamContext,
    met: &Counterpart,
    first: FeedbackBatch,
    inbound: &mut Streaming<FeedbackBatch>,
    replies: mpsc::Sender<Reply>,
) -> Result<(), Status> {
    let mut next = Some(first);
    while let Some(message) = next {
        let feedback =
            signalbox_wire::feedback(message).map_err(|error| context.refuse(&met.name, &error))?;
        let Ok(permit) = context.permits.clone().acquire_owned().await else { break };
        let fed = Message::Fed { feedback, replies: replies.clone(), permit };
        met.owner.cast(fed).map_err(|_| Status::unavailable("the pool's owner is gone"))?;
        next = inbound.message().await?;
    }
    Ok(())
}

async fn write(
    board: &Board,
    mut said: mpsc::Receiver<Reply>,
    sender: &mpsc::Sender<Result<FeedbackReply, Status>>,
) {
    while let Some(reply) = said.recv().await {
        let epoch = *board.news.borrow();
        if sender.send(Ok(signalbox_wire::feedback_reply(epoch, reply))).await.is_err() {
            return;
        }
    }
}
