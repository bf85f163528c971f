//! Ends of requests that another replica booked go to it through the pool's owner, and those of our own come back.

use std::sync::Arc;
use std::time::Duration;

use signalbox_protos::signalbox::v1::pool_client::PoolClient;
use signalbox_types::Ended;
use signalbox_wire::{Hello, WireError};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use crate::actors::Owner;
use crate::picker::Picker;

/// Ends in one batch.
const ENDS_PER_BATCH: usize = 256;

/// Batches that may wait for the connection.
const BATCHES_WAITING: usize = 4;

/// Wait before a broken stream is opened again.
const REOPEN: Duration = Duration::from_millis(200);

/// Ends that wait to be passed on. Shared, so that whoever reads them can be started anew.
pub(crate) type Ends = Arc<Mutex<mpsc::Receiver<Ended>>>;

/// Why a stream is over.
#[derive(Debug, thiserror::Error)]
enum Over {
    #[error("the aggregator relays nothing: {0}")]
    Closed(Box<Status>),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("nothing is to be relayed any more")]
    Done,
}

/// Passes ends on and takes them in, by way of whoever owns the pool. What is on its way when that changes is lost: those bookings expire.
pub(crate) async fn relay(picker: Arc<Picker>, hello: Hello, mut owner: watch::Receiver<Owner>, ends: Ends) {
    let mut ends = ends.lock().await;
    loop {
        let Ok(now) = owner.wait_for(Option::is_some).await.map(|now| now.clone()) else { return };
        if let Some((stream, channel)) = now {
            let is_another = |owner: &Owner| owner.as_ref().is_some_and(|(known, _)| *known != stream);
            let over = tokio::select! {
                over = exchange(&picker, &hello, channel, &mut ends) => over,
                _ = owner.wait_for(is_another) => continue,
            };
            if let Err(over) = over {
                tracing::debug!(%over, "ends of requests are not relayed");
            }
        }
        tokio::time::sleep(REOPEN).await;
    }
}

async fn exchange(
    picker: &Picker,
    hello: &Hello,
    channel: Channel,
    ends: &mut mpsc::Receiver<Ended>,
) -> Result<(), Over> {
    let (batches, said) = mpsc::channel(BATCHES_WAITING);
    let closed = |status: Status| Over::Closed(Box::new(status));
    batches.send(signalbox_wire::ended_batch(Some(hello), &[])).await.map_err(|_| Over::Done)?;
    let mut heard =
        PoolClient::new(channel).relay(ReceiverStream::new(said)).await.map_err(closed)?.into_inner();
    let mut next = Vec::new();
    loop {
        tokio::select! {
            count = ends.recv_many(&mut next, ENDS_PER_BATCH) => {
                if count == 0 {
                    return Err(Over::Done);
                }
                let batch = signalbox_wire::ended_batch(None, &next);
                next.clear();
                batches.send(batch).await.map_err(|_| Over::Done)?;
            }
            message = heard.message() => {
                let Some(message) = message.map_err(closed)? else { return Ok(()) };
                signalbox_wire::ended(message)?.iter().for_each(|ended| picker.told(ended));
            }
        }
    }
}
