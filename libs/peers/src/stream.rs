//! One stream to an aggregator, from its opening to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_protos::signalbox::v1::pool_client::PoolClient;
use signalbox_state::{FromAggregator, FromFollower};
use signalbox_tls::ConnectError;
use signalbox_types::PeerAddress;
use signalbox_wire::{Hello, WireError};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;

use crate::connections::{Connection, Connections, status_reason};
use crate::followed_pool::FollowedPool;

/// Messages of one stream that can queue for the listener.
const MAX_QUEUED_MESSAGES: usize = 64;

/// A stream that stays silent this long is dead. Aggregators send ten heartbeats a second.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limit for an aggregator to accept the stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a follower that rejected a message waits for the aggregator to read why.
const REJECTION_LINGER: Duration = Duration::from_millis(500);

/// Maximum size of a frame. Snapshots are split into far smaller ones.
const MAX_FRAME_BYTES: usize = 16 << 20;

/// Whether the listener still wants events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerState {
    /// It wants more events.
    Listening,
    /// It is gone: all streams end.
    Closed,
}

/// What happens on the streams. Each opened stream has a new number.
#[derive(Debug)]
pub enum StreamEvent {
    /// A stream was opened.
    Opened {
        /// Number of the stream.
        stream: u64,
        /// The aggregator at the other end.
        aggregator: PeerAddress,
        /// Its connection, for other streams to the same aggregator.
        channel: Channel,
        /// Sends messages on the stream.
        sender: StreamSender,
    },
    /// A message arrived.
    Received {
        /// Number of the stream.
        stream: u64,
        /// The message.
        message: FromAggregator,
        /// Bounds the queued messages: the listener drops it after handling the message.
        permit: OwnedSemaphorePermit,
    },
    /// The stream ended.
    Closed {
        /// Number of the stream.
        stream: u64,
    },
}

/// Sends messages to the aggregator. Queued messages are not copied: offered frames share the memory of the
/// held ones.
#[derive(Clone, Debug)]
pub struct StreamSender(mpsc::UnboundedSender<Outgoing>);

impl StreamSender {
    /// Sends `message`. Does nothing if the stream has ended.
    pub fn send(&self, message: FromFollower) {
        let _ = self.0.send(Outgoing::Message(message));
    }
}

#[derive(Debug)]
enum Outgoing {
    Message(FromFollower),
    Rejection(WireError),
}

/// Why a stream ended or could not be opened.
#[derive(Debug, Error)]
pub(crate) enum StreamEnd {
    #[error("cannot connect: {0}")]
    Connect(#[from] ConnectError),
    #[error("refused: {} ({:?})", status_reason(.0), .0.code())]
    Refused(Box<tonic::Status>),
    #[error("no answer within {} s", OPEN_TIMEOUT.as_secs())]
    OpenTimeout,
    #[error("closed by the aggregator: {}", .0.as_ref().map_or("no reason given".to_owned(), |status| status_reason(status)))]
    Closed(Option<Box<tonic::Status>>),
    #[error("no message for {} s", SILENCE_TIMEOUT.as_secs())]
    Silent,
    #[error(transparent)]
    InvalidMessage(WireError),
    #[error("the listener is closed")]
    ListenerClosed,
}

/// A stream that can be opened repeatedly.
pub(crate) struct AggregatorStream<L> {
    pub(crate) aggregator: PeerAddress,
    pub(crate) hello: Hello,
    pub(crate) pool: Arc<FollowedPool>,
    pub(crate) connections: Connections,
    pub(crate) stream_ids: Arc<AtomicU64>,
    pub(crate) listener: L,
}

/// Reports on drop that a stream is closed, however it ended.
struct ReportClosed<'a, L: Fn(StreamEvent) -> ListenerState>(&'a L, u64);

impl<L: Fn(StreamEvent) -> ListenerState> Drop for ReportClosed<'_, L> {
    fn drop(&mut self) {
        (self.0)(StreamEvent::Closed { stream: self.1 });
    }
}

impl<L: Fn(StreamEvent) -> ListenerState> AggregatorStream<L> {
    /// Opens the stream and reads it to its end. Sets `has_delivered` once a message has arrived: an aggregator can also
    /// refuse a stream after it has opened it.
    pub(crate) async fn run(&self, has_delivered: &mut bool) -> StreamEnd {
        let connection = match self.connections.open(&self.aggregator).await {
            Ok(connection) => connection,
            Err(error) => return error.into(),
        };
        let (Ok(end) | Err(end)) = self.run_on(&connection, has_delivered).await;
        match &end {
            StreamEnd::Refused(status) | StreamEnd::Closed(Some(status)) => connection.observe(status),
            StreamEnd::OpenTimeout | StreamEnd::Silent => connection.mark_broken(),
            _ => {}
        }
        end
    }

    async fn run_on(
        &self,
        connection: &Connection,
        has_delivered: &mut bool,
    ) -> Result<StreamEnd, StreamEnd> {
        let channel = connection.channel();
        let stream = self.stream_ids.fetch_add(1, Ordering::Relaxed);
        let (sender, outgoing) = mpsc::unbounded_channel();
        let opened = StreamEvent::Opened {
            stream,
            aggregator: self.aggregator.clone(),
            channel: channel.clone(),
            sender: StreamSender(sender.clone()),
        };
        let report_closed = ReportClosed(&self.listener, stream);
        if (self.listener)(opened) == ListenerState::Closed {
            return Ok(StreamEnd::ListenerClosed);
        }
        let mut hello = Some(self.hello.clone());
        let outgoing = UnboundedReceiverStream::new(outgoing)
            .map(move |outgoing| follower_message(hello.take().as_ref(), outgoing));
        let mut client = PoolClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES);
        let mut frames = match timeout(OPEN_TIMEOUT, client.subscribe(outgoing)).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return Err(StreamEnd::Refused(Box::new(status))),
            Err(_) => return Err(StreamEnd::OpenTimeout),
        };
        let end = self.read(stream, &mut frames, has_delivered).await;
        drop(report_closed);
        if let StreamEnd::InvalidMessage(reason) = &end {
            let _ = sender.send(Outgoing::Rejection(reason.clone()));
            // The aggregator closes the stream after reading the reason. Frames that it sent before are
            // discarded.
            let until_closed = async { while let Ok(Some(_)) = frames.message().await {} };
            let _ = timeout(REJECTION_LINGER, until_closed).await;
        }
        Ok(end)
    }

    async fn read(
        &self,
        stream: u64,
        frames: &mut tonic::Streaming<pb::Frame>,
        has_delivered: &mut bool,
    ) -> StreamEnd {
        let permits = Arc::new(Semaphore::new(MAX_QUEUED_MESSAGES));
        loop {
            let frame = match timeout(SILENCE_TIMEOUT, frames.message()).await {
                Ok(Ok(Some(frame))) => frame,
                Ok(Ok(None)) => return StreamEnd::Closed(None),
                Ok(Err(status)) => return StreamEnd::Closed(Some(Box::new(status))),
                Err(_) => return StreamEnd::Silent,
            };
            let message = match self.decode(!*has_delivered, frame) {
                Ok(message) => message,
                Err(error) => return StreamEnd::InvalidMessage(error),
            };
            *has_delivered = true;
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return StreamEnd::ListenerClosed;
            };
            if (self.listener)(StreamEvent::Received { stream, message, permit }) == ListenerState::Closed {
                return StreamEnd::ListenerClosed;
            }
        }
    }

    fn decode(&self, is_first: bool, mut frame: pb::Frame) -> Result<FromAggregator, WireError> {
        let hello = frame.hello.take();
        if is_first {
            self.pool.check(&Hello::read(hello)?)?;
        }
        signalbox_wire::decode_aggregator_message(frame)
    }
}

fn follower_message(hello: Option<&Hello>, outgoing: Outgoing) -> pb::FollowerMessage {
    match outgoing {
        Outgoing::Message(message) => signalbox_wire::encode_follower_message(hello, message),
        Outgoing::Rejection(reason) => signalbox_wire::encode_rejection(&reason),
    }
}
