//! The stream of frames from an aggregator: connects, reads, and connects again.

use std::sync::Arc;
use std::time::Duration;

use signalbox_actors::{Backoff, BackoffPolicy};
use signalbox_protos::signalbox::v1::Cursor;
use signalbox_protos::signalbox::v1::pool_client::PoolClient;
use signalbox_types::PeerAddress;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use super::view_keeper::{KeeperRef, Message};

/// Frames that may wait for the keeper.
const FRAMES_WAITING: usize = 64;

const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// A stream that says nothing for so long is dead: an aggregator beats ten times a second.
const SILENCE: Duration = Duration::from_secs(2);

const RECONNECT: BackoffPolicy =
    BackoffPolicy { base: Duration::from_millis(50), cap: Duration::from_secs(1) };

/// The largest frame. A snapshot is cut into entries far below it.
const FRAME_LIMIT_BYTES: usize = 16 << 20;

/// Follows the aggregators, one at a time, until `keeper` is gone. `channel` shows the connection while there is one.
pub(super) async fn follow(
    aggregators: Vec<PeerAddress>,
    keeper: KeeperRef,
    channel: Arc<watch::Sender<Option<Channel>>>,
) {
    let mut backoff = Backoff::new(RECONNECT);
    for aggregator in aggregators.iter().cycle() {
        match connect(aggregator).await {
            Ok(connected) => {
                channel.send_replace(Some(connected.clone()));
                let heard = read(&keeper, connected).await;
                channel.send_replace(None);
                if heard == Heard::Something {
                    backoff.on_success();
                }
                if keeper.cast(Message::Disconnected).is_err() {
                    return;
                }
                tracing::warn!(%aggregator, "the aggregator is heard no more");
            }
            Err(error) => tracing::debug!(%aggregator, %error, "the aggregator cannot be reached"),
        }
        tokio::time::sleep(backoff.on_failure(rand::random())).await;
    }
}

async fn connect(aggregator: &PeerAddress) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{aggregator}"))?;
    endpoint.connect_timeout(CONNECT_DEADLINE).tcp_nodelay(true).connect().await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Something,
}

async fn read(keeper: &KeeperRef, channel: Channel) -> Heard {
    let mut heard = Heard::Nothing;
    let (cursors, said) = mpsc::channel::<Cursor>(4);
    if keeper.cast(Message::Connected(cursors)).is_err() {
        return heard;
    }
    let mut client = PoolClient::new(channel).max_decoding_message_size(FRAME_LIMIT_BYTES);
    let mut frames = match client.subscribe(ReceiverStream::new(said)).await {
        Ok(response) => response.into_inner(),
        Err(status) => {
            tracing::debug!(%status, "the aggregator does not serve");
            return heard;
        }
    };
    let permits = Arc::new(Semaphore::new(FRAMES_WAITING));
    while let Ok(Ok(Some(message))) = tokio::time::timeout(SILENCE, frames.message()).await {
        heard = Heard::Something;
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
        let framed = match signalbox_wire::frame(message) {
            Ok(frame) => Message::Framed(frame, permit),
            Err(error) => {
                tracing::warn!(%error, "a frame is not of this version");
                break;
            }
        };
        if keeper.cast(framed).is_err() {
            break;
        }
    }
    heard
}
