//! Relays the ends of requests between replicas through the pool's owner: sends those of other replicas'
//! requests, and receives those of this replica's requests.

use std::sync::Arc;
use std::time::Instant;

use signalbox_actors::StreamBackoff;
use signalbox_protos::signalbox::v1::pool_client::PoolClient;
use signalbox_types::RequestEnd;
use signalbox_wire::{Hello, WireError};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use super::owner_connection::OwnerConnection;
use crate::deciding::picker::Picker;

/// Maximum number of request ends per batch.
const ENDS_PER_BATCH: usize = 256;

/// Capacity of the queue of batches to the connection.
const BATCH_QUEUE: usize = 4;

/// The queue of request ends to relay. It is shared, so that a restarted relay goes on reading it.
pub(crate) type RequestEndQueue = Arc<Mutex<mpsc::Receiver<RequestEnd>>>;

/// Why a relay stream ended.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the aggregator refused or closed the relay stream: {0}")]
    Closed(Box<Status>),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the replica is stopping")]
    Stopping,
}

/// Relays request ends through the current owner, until the owner's sender is dropped. Ends in transit when
/// the owner changes are lost; their bookings expire.
pub(crate) async fn relay_request_ends(
    picker: Arc<Picker>,
    hello: Hello,
    mut owner: watch::Receiver<OwnerConnection>,
    ends: RequestEndQueue,
) {
    let (mut ends, mut backoff) = (ends.lock().await, StreamBackoff::default());
    loop {
        let Ok(current) = owner.wait_for(Option::is_some).await.map(|current| current.clone()) else {
            return;
        };
        let started = Instant::now();
        if let Some((stream, channel)) = current {
            let is_another =
                |owner: &OwnerConnection| owner.as_ref().is_some_and(|(known, _)| *known != stream);
            let outcome = tokio::select! {
                outcome = exchange_ends(&picker, &hello, channel, &mut ends) => outcome,
                _ = owner.wait_for(is_another) => {
                    // Another owner has refused nothing yet.
                    backoff = StreamBackoff::default();
                    continue;
                }
            };
            if let Err(error) = outcome {
                tracing::debug!(%error, "the relay of request ends is interrupted");
            }
        }
        tokio::time::sleep(backoff.delay(started.elapsed(), rand::random())).await;
    }
}

/// Exchanges request ends on `channel` until the stream ends.
async fn exchange_ends(
    picker: &Picker,
    hello: &Hello,
    channel: Channel,
    ends: &mut mpsc::Receiver<RequestEnd>,
) -> Result<(), RelayError> {
    let (batches, outbound) = mpsc::channel(BATCH_QUEUE);
    let closed = |status: Status| RelayError::Closed(Box::new(status));
    batches
        .send(signalbox_wire::encode_request_ends(Some(hello), &[]))
        .await
        .map_err(|_| RelayError::Stopping)?;
    let mut inbound =
        PoolClient::new(channel).relay(ReceiverStream::new(outbound)).await.map_err(closed)?.into_inner();
    let mut next = Vec::new();
    loop {
        tokio::select! {
            count = ends.recv_many(&mut next, ENDS_PER_BATCH) => {
                if count == 0 {
                    return Err(RelayError::Stopping);
                }
                let batch = signalbox_wire::encode_request_ends(None, &next);
                next.clear();
                batches.send(batch).await.map_err(|_| RelayError::Stopping)?;
            }
            message = inbound.message() => {
                let Some(message) = message.map_err(closed)? else { return Ok(()) };
                signalbox_wire::decode_request_ends(message)?.iter().for_each(|end| picker.handle_request_end(end));
            }
        }
    }
}
