//! One stream to an aggregator, from its opening to its end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_protos::signalbox::v1::pool_client::PoolClient;
use signalbox_state::{FromAggregator, FromFollower};
use signalbox_tls::{ConnectError, Security};
use signalbox_types::PeerAddress;
use signalbox_wire::{Hello, WireError};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;

use crate::connect::{connect, why};

/// Messages of one stream that may wait for the listener.
const MESSAGES_WAITING: usize = 64;

/// A stream that says nothing for so long is dead: an aggregator says something ten times a second.
const SILENCE: Duration = Duration::from_secs(2);

/// How long an aggregator has to accept the stream.
const OPEN_DEADLINE: Duration = Duration::from_secs(2);

/// How long an aggregator that was refused has to read why.
const PARTING: Duration = Duration::from_millis(500);

/// The largest frame. A snapshot is cut into entries far below it.
const FRAME_LIMIT_BYTES: usize = 16 << 20;

/// Whether whoever is told still wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// It does.
    On,
    /// It is gone.
    Over,
}

/// What happens on the streams. Each is numbered anew when it is opened.
#[derive(Debug)]
pub enum Event {
    /// A stream is open.
    Opened {
        /// The stream.
        stream: u64,
        /// To whom.
        aggregator: PeerAddress,
        /// Its connection, for other streams to the same aggregator.
        channel: Channel,
        /// What is put in is said on it.
        tell: Tell,
    },
    /// Something was said on it. Whoever is done with that drops the permit.
    Said {
        /// The stream.
        stream: u64,
        /// What was said.
        said: FromAggregator,
        /// Bounds how much waits.
        permit: OwnedSemaphorePermit,
    },
    /// It is over.
    Closed {
        /// The stream.
        stream: u64,
    },
}

/// The upward half of a stream. What waits here is not copied yet: frames that are offered share what is held.
#[derive(Clone, Debug)]
pub struct Tell(mpsc::UnboundedSender<Up>);

impl Tell {
    /// Says `said`, unless the stream is over.
    pub fn say(&self, said: FromFollower) {
        let _ = self.0.send(Up::Said(said));
    }
}

#[derive(Debug)]
enum Up {
    Said(FromFollower),
    Refused(WireError),
}

/// Why a stream ended, or could not be opened.
#[derive(Debug, Error)]
pub(crate) enum StreamEnd {
    #[error("no connection: {0}")]
    Connect(#[from] ConnectError),
    #[error("{} ({:?})", why(.0), .0.code())]
    NotServed(Box<tonic::Status>),
    #[error("no answer")]
    NoAnswer,
    #[error("closed, {}", .0.as_ref().map_or("without a word".to_owned(), |status| why(status)))]
    Closed(Option<Box<tonic::Status>>),
    #[error("nothing was said for {} s", SILENCE.as_secs())]
    Silent,
    #[error(transparent)]
    Unusable(WireError),
    #[error("nobody listens any more")]
    Unwanted,
}

impl StreamEnd {
    /// Whether the stream was open for a while, so that it is worth opening again at once.
    pub(crate) fn was_open(&self) -> bool {
        matches!(self, Self::Closed(_) | Self::Silent)
    }
}

/// The pool that all streams are about: the one asked for, or the first that is spoken of.
#[derive(Debug, Default)]
pub struct Subject(OnceLock<String>);

impl Subject {
    /// The pool that `hello` asks for, if it asks for one.
    pub fn of(hello: &Hello) -> Self {
        Self(hello.pool.clone().map_or_else(OnceLock::new, OnceLock::from))
    }

    /// The pool, `NAMESPACE/NAME`, once it is known.
    pub fn pool(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    fn check(&self, hello: &Hello) -> Result<(), WireError> {
        let Some(theirs) = hello.pool.clone() else { return Err(WireError::Missing("pool")) };
        let ours = self.0.get_or_init(|| theirs.clone());
        if *ours == theirs { Ok(()) } else { Err(WireError::Pool { theirs, ours: ours.clone() }) }
    }
}

/// A stream, before it is opened.
pub(crate) struct Stream<L> {
    pub(crate) aggregator: PeerAddress,
    pub(crate) hello: Hello,
    pub(crate) subject: Arc<Subject>,
    pub(crate) security: Security,
    pub(crate) streams: Arc<AtomicU64>,
    pub(crate) listener: L,
}

/// Tells that a stream is over, however it ends.
struct Closing<'a, L: Fn(Event) -> Listening>(&'a L, u64);

impl<L: Fn(Event) -> Listening> Drop for Closing<'_, L> {
    fn drop(&mut self) {
        (self.0)(Event::Closed { stream: self.1 });
    }
}

impl<L: Fn(Event) -> Listening> Stream<L> {
    /// Opens the stream and reads it to its end.
    pub(crate) async fn run(&self) -> StreamEnd {
        match self.try_run().await {
            Ok(end) | Err(end) => end,
        }
    }

    async fn try_run(&self) -> Result<StreamEnd, StreamEnd> {
        let channel = connect(&self.aggregator, &self.security).await?;
        let stream = self.streams.fetch_add(1, Ordering::Relaxed);
        let (tell, said) = mpsc::unbounded_channel();
        let opened = Event::Opened {
            stream,
            aggregator: self.aggregator.clone(),
            channel: channel.clone(),
            tell: Tell(tell.clone()),
        };
        let closing = Closing(&self.listener, stream);
        if (self.listener)(opened) == Listening::Over {
            return Ok(StreamEnd::Unwanted);
        }
        let mut hello = Some(self.hello.clone());
        let said = UnboundedReceiverStream::new(said).map(move |up| message(hello.take().as_ref(), up));
        let mut client = PoolClient::new(channel).max_decoding_message_size(FRAME_LIMIT_BYTES);
        let mut frames = match timeout(OPEN_DEADLINE, client.subscribe(said)).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return Err(StreamEnd::NotServed(Box::new(status))),
            Err(_) => return Err(StreamEnd::NoAnswer),
        };
        let end = self.read(stream, &mut frames).await;
        drop(closing);
        if let StreamEnd::Unusable(reason) = &end {
            let _ = tell.send(Up::Refused(reason.clone()));
            // The aggregator closes the stream when it has read the reason; what it had sent before is not looked at.
            let until_closed = async { while let Ok(Some(_)) = frames.message().await {} };
            let _ = timeout(PARTING, until_closed).await;
        }
        Ok(end)
    }

    async fn read(&self, stream: u64, frames: &mut tonic::Streaming<pb::Frame>) -> StreamEnd {
        let permits = Arc::new(Semaphore::new(MESSAGES_WAITING));
        let mut is_first = true;
        loop {
            let message = match timeout(SILENCE, frames.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return StreamEnd::Closed(None),
                Ok(Err(status)) => return StreamEnd::Closed(Some(Box::new(status))),
                Err(_) => return StreamEnd::Silent,
            };
            let said = match self.understand(is_first, message) {
                Ok(said) => said,
                Err(error) => return StreamEnd::Unusable(error),
            };
            is_first = false;
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return StreamEnd::Unwanted };
            if (self.listener)(Event::Said { stream, said, permit }) == Listening::Over {
                return StreamEnd::Unwanted;
            }
        }
    }

    fn understand(&self, is_first: bool, mut message: pb::Frame) -> Result<FromAggregator, WireError> {
        let hello = message.hello.take();
        if is_first {
            self.subject.check(&Hello::read(hello)?)?;
        }
        signalbox_wire::from_aggregator(message)
    }
}

fn message(hello: Option<&Hello>, up: Up) -> pb::FollowerMessage {
    match up {
        Up::Said(said) => signalbox_wire::follower_message(hello, said),
        Up::Refused(reason) => signalbox_wire::refusal(&reason),
    }
}
