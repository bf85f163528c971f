//! A collector's stream: reports in, its assignment out.

use signalbox_protos::signalbox::v1::{CollectorDirective, CollectorMessage};
use signalbox_state::{AssignedEndpoint, CollectorStream};
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

use super::{Counterpart, Outgoing, StreamContext, not_the_owner};
use crate::actors::{Message, Reported};
use crate::pools::Board;

pub(super) fn serve(
    context: StreamContext,
    inbound: Streaming<CollectorMessage>,
) -> Outgoing<CollectorDirective> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Err(status) = exchange(&context, inbound, &sender).await {
            // Nobody reads it when the collector is gone.
            let _ = sender.send(Err(status)).await;
        }
    });
    Outgoing::new(receiver)
}

async fn exchange(
    context: &StreamContext,
    mut inbound: Streaming<CollectorMessage>,
    sender: &mpsc::Sender<Result<CollectorDirective, Status>>,
) -> Result<(), Status> {
    let Some(mut first) = inbound.message().await? else { return Ok(()) };
    let met = context.meet_as_owner(first.hello.take())?;
    let stream = CollectorStream(context.next_stream());
    let (assignment, assigned) = watch::channel(Vec::new());
    let name = met.name.clone();
    tracing::info!(collector = name, stream = stream.0, "collector connected");
    context.metrics.collectors.inc();
    let joined = Message::CollectorJoined { stream, name: name.clone(), assignment };
    let steward_is_gone = met.owner.cast(joined).is_err();
    let ended = tokio::select! {
        _ = std::future::ready(()), if steward_is_gone => Ok(()),
        ended = read(context, &met, stream, first, &mut inbound) => ended,
        () = write(&met.board, assigned, sender) => Ok(()),
        () = met.board.not_owned() => Err(not_the_owner(&met.board)),
    };
    context.metrics.collectors.dec();
    tracing::info!(collector = name, stream = stream.0, "collector disconnected");
    // The steward may be gone; the next one does not know this stream.
    let _ = met.owner.cast(Message::CollectorLeft(stream));
    ended
}

async fn read(
    context: &StreamContext,
    met: &Counterpart,
    stream: CollectorStream,
    first: CollectorMessage,
    inbound: &mut Streaming<CollectorMessage>,
) -> Result<(), Status> {
    let mut next = Some(first);
    while let Some(message) = next {
        let epoch = message.epoch;
        let reports = signalbox_wire::reports(message).map_err(|error| context.refuse(&met.name, &error))?;
        let Ok(permit) = context.permits.clone().acquire_owned().await else { break };
        let reported = Message::Reported(Reported { stream, epoch, reports }, permit);
        met.owner.cast(reported).map_err(|_| Status::unavailable("the pool's owner is gone"))?;
        next = inbound.message().await?;
    }
    Ok(())
}

/// Ends when the steward has dropped the collector, or the collector is gone.
async fn write(
    board: &Board,
    mut assigned: watch::Receiver<Vec<AssignedEndpoint>>,
    sender: &mpsc::Sender<Result<CollectorDirective, Status>>,
) {
    while assigned.changed().await.is_ok() {
        let (endpoints, epoch) = (assigned.borrow_and_update().clone(), *board.news.borrow());
        if sender.send(Ok(signalbox_wire::directive(epoch, endpoints))).await.is_err() {
            return;
        }
    }
}
