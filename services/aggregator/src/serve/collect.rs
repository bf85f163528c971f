//! A collector's stream: reports in, its assignment out.

use signalbox_protos::signalbox::v1::{CollectorDirective, CollectorMessage};
use signalbox_state::{Assigned, CollectorStream};
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

use super::{Desk, Outgoing};
use crate::actors::{Message, OwnerRef};

pub(super) async fn serve(
    desk: Desk,
    mut inbound: Streaming<CollectorMessage>,
) -> Result<Outgoing<CollectorDirective>, Status> {
    let owner = desk.owner()?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let first = match inbound.message().await {
            Ok(Some(first)) => first,
            Ok(None) | Err(_) => return,
        };
        let stream = CollectorStream(desk.next_stream());
        let (assignment, assigned) = watch::channel(Vec::new());
        let name = first.collector.clone();
        tracing::info!(collector = name, stream = stream.0, "collector connected");
        desk.metrics.collectors.inc();
        let joined = Message::CollectorJoined { stream, name: name.clone(), assignment };
        if owner.cast(joined).is_ok() {
            tokio::select! {
                () = read(&desk, &owner, stream, first, &mut inbound) => {}
                () = write(&desk, assigned, sender) => {}
            }
        }
        desk.metrics.collectors.dec();
        tracing::info!(collector = name, stream = stream.0, "collector disconnected");
        // The owner may be gone; the next one does not know this stream.
        let _ = owner.cast(Message::CollectorLeft(stream));
    });
    Ok(Outgoing::new(receiver))
}

async fn read(
    desk: &Desk,
    owner: &OwnerRef,
    stream: CollectorStream,
    first: CollectorMessage,
    inbound: &mut Streaming<CollectorMessage>,
) {
    let mut next = Some(first);
    while let Some(message) = next {
        let epoch = message.epoch;
        let reports = match signalbox_wire::reports(message) {
            Ok(reports) => reports,
            Err(error) => {
                desk.refuse(&error);
                return;
            }
        };
        let Ok(permit) = desk.permits.clone().acquire_owned().await else { return };
        if owner.cast(Message::Reported { stream, epoch, reports, permit }).is_err() {
            return;
        }
        next = inbound.message().await.unwrap_or(None);
    }
}

/// Ends when the owner or the collector is gone.
async fn write(
    desk: &Desk,
    mut assigned: watch::Receiver<Vec<Assigned>>,
    sender: mpsc::Sender<Result<CollectorDirective, Status>>,
) {
    while assigned.changed().await.is_ok() {
        let endpoints = assigned.borrow_and_update().clone();
        if sender.send(Ok(signalbox_wire::directive(desk.epoch(), endpoints))).await.is_err() {
            return;
        }
    }
}
