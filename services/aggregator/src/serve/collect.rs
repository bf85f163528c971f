//! A collector's stream: reports in, its assignment out.

use signalbox_protos::signalbox::v1::{CollectorDirective, CollectorMessage};
use signalbox_state::{Assigned, CollectorStream};
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

use super::{Counterpart, Desk, Outgoing, not_the_owner};
use crate::actors::{Message, Reported};
use crate::pools::Board;

pub(super) fn serve(desk: Desk, inbound: Streaming<CollectorMessage>) -> Outgoing<CollectorDirective> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Err(status) = exchange(&desk, inbound, &sender).await {
            // Nobody reads it when the collector is gone.
            let _ = sender.send(Err(status)).await;
        }
    });
    Outgoing::new(receiver)
}

async fn exchange(
    desk: &Desk,
    mut inbound: Streaming<CollectorMessage>,
    sender: &mpsc::Sender<Result<CollectorDirective, Status>>,
) -> Result<(), Status> {
    let Some(mut first) = inbound.message().await? else { return Ok(()) };
    let met = desk.meet_as_owner(first.hello.take())?;
    let stream = CollectorStream(desk.next_stream());
    let (assignment, assigned) = watch::channel(Vec::new());
    let name = met.name.clone();
    tracing::info!(collector = name, stream = stream.0, "collector connected");
    desk.metrics.collectors.inc();
    let joined = Message::CollectorJoined { stream, name: name.clone(), assignment };
    let steward_is_gone = met.steward.cast(joined).is_err();
    let ended = tokio::select! {
        _ = std::future::ready(()), if steward_is_gone => Ok(()),
        ended = read(desk, &met, stream, first, &mut inbound) => ended,
        () = write(&met.board, assigned, sender) => Ok(()),
        () = met.board.not_owned() => Err(not_the_owner(&met.board)),
    };
    desk.metrics.collectors.dec();
    tracing::info!(collector = name, stream = stream.0, "collector disconnected");
    // The steward may be gone; the next one does not know this stream.
    let _ = met.steward.cast(Message::CollectorLeft(stream));
    ended
}

async fn read(
    desk: &Desk,
    met: &Counterpart,
    stream: CollectorStream,
    first: CollectorMessage,
    inbound: &mut Streaming<CollectorMessage>,
) -> Result<(), Status> {
    let mut next = Some(first);
    while let Some(message) = next {
        let epoch = message.epoch;
        let reports = signalbox_wire::reports(message).map_err(|error| desk.refuse(&met.name, &error))?;
        let Ok(permit) = desk.permits.clone().acquire_owned().await else { break };
        let reported = Message::Reported(Reported { stream, epoch, reports }, permit);
        met.steward.cast(reported).map_err(|_| Status::unavailable("the pool's steward is gone"))?;
        next = inbound.message().await?;
    }
    Ok(())
}

/// Ends when the steward has dropped the collector, or the collector is gone.
async fn write(
    board: &Board,
    mut assigned: watch::Receiver<Vec<Assigned>>,
    sender: &mpsc::Sender<Result<CollectorDirective, Status>>,
) {
    while assigned.changed().await.is_ok() {
        let (endpoints, epoch) = (assigned.borrow_and_update().clone(), *board.news.borrow());
        if sender.send(Ok(signalbox_wire::directive(epoch, endpoints))).await.is_err() {
            return;
        }
    }
}
