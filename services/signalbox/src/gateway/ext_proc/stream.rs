//! One ext-proc stream to a picker.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use signalbox_protos::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use tokio::sync::mpsc::{self, Permit};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::messages::{self, FromPicker, Reply, ToPicker};
use crate::gateway::body::{BodyReader, Chunk};

/// How long a picker has to close its side of a stream after the gateway closed its own. Then the stream is
/// reset.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A stream to a picker for one request. [`ExtProcStream::finish`] closes it properly. Dropping it cancels
/// the stream, which tells the picker that the request was aborted.
pub(crate) struct ExtProcStream {
    pub(crate) sender: StreamSender,
    pub(crate) receiver: StreamReceiver,
}

/// Why a picker sends no more messages.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamEnd {
    /// The picker closed the stream properly, because it needs nothing more of this request.
    #[error("the picker closed the stream")]
    Closed,
    /// The picker is unreachable, died, returned an error or sent an invalid message.
    #[error("{0}")]
    Broken(String),
}

impl ExtProcStream {
    /// Opens a stream and sends `opening`. The connection is made when the receiver is first polled.
    pub(crate) fn open(channel: Channel, opening: ToPicker) -> Self {
        // A capacity of one: the second message is accepted only after the connection has taken the first. So
        // no body is read before the picker is known to be reachable, nor faster than it is sent.
        let (sender, receiver) = mpsc::channel(1);
        // The new channel is neither full nor closed.
        let _ = sender.try_send(opening);
        let mut client = ExternalProcessorClient::new(channel);
        let opening = Box::pin(async move {
            client.process(ReceiverStream::new(receiver)).await.map(tonic::Response::into_inner)
        });
        Self { sender: StreamSender(sender), receiver: StreamReceiver::Opening(opening) }
    }

    /// Closes this side of the stream. A background task waits until the picker closes its side.
    pub(crate) fn finish(self) {
        let Self { sender, mut receiver } = self;
        drop(sender);
        tokio::spawn(tokio::time::timeout(
            CLOSE_TIMEOUT,
            async move { while receiver.next().await.is_ok() {} },
        ));
    }
}

/// Sends messages to the picker.
pub(crate) struct StreamSender(mpsc::Sender<ToPicker>);

impl StreamSender {
    /// Waits until the previous message was sent. Never completes when the stream is closed, because the
    /// receiver reports that, with the reason.
    pub(crate) async fn reserve(&self) -> Permit<'_, ToPicker> {
        match self.0.reserve().await {
            Ok(permit) => permit,
            Err(_closed) => pending().await,
        }
    }

    /// Reads the next chunk of a body, sends it and returns its length in bytes. Reads only when it can send.
    /// Cancel safe: dropping the future loses no data.
    ///
    /// # Errors
    /// When the body cannot be read.
    pub(crate) async fn forward_chunk(
        &self,
        body: &mut BodyReader,
        wrap: fn(Chunk) -> ToPicker,
    ) -> Result<usize, hyper::Error> {
        let permit = self.reserve().await;
        let chunk = body.next().await?;
        let length = chunk.bytes.len();
        permit.send(wrap(chunk));
        Ok(length)
    }
}

type Opening = Pin<Box<dyn Future<Output = Result<Streaming<FromPicker>, Status>> + Send>>;

/// Receives messages from the picker.
pub(crate) enum StreamReceiver {
    /// The stream is being opened. A picker may send nothing until it has seen the whole body.
    Opening(Opening),
    /// The stream is open.
    Open(Box<Streaming<FromPicker>>),
}

impl StreamReceiver {
    /// Returns the next message. Must not be called again after an error. Cancel safe: dropping the future
    /// loses no data.
    ///
    /// # Errors
    /// The [`StreamEnd`], when no more messages follow.
    pub(crate) async fn next(&mut self) -> Result<Reply, StreamEnd> {
        if let Self::Opening(opening) = self {
            let stream = opening.await.map_err(|status| broken(&status))?;
            *self = Self::Open(Box::new(stream));
        }
        let Self::Open(stream) = self else { return pending().await };
        match stream.message().await {
            Ok(Some(message)) => {
                messages::parse(message).map_err(|error| StreamEnd::Broken(error.to_string()))
            }
            Ok(None) => Err(StreamEnd::Closed),
            Err(status) => Err(broken(&status)),
        }
    }
}

/// Converts a status to text: tonic's message and the root cause, which is the error of the operating system.
fn broken(status: &Status) -> StreamEnd {
    let mut root_cause: Option<&dyn std::error::Error> = std::error::Error::source(status);
    while let Some(source) = root_cause.and_then(std::error::Error::source) {
        root_cause = Some(source);
    }
    let message = format!("{:?}: {}", status.code(), status.message());
    StreamEnd::Broken(match root_cause {
        Some(cause) => format!("{message} ({cause})"),
        None => message,
    })
}
