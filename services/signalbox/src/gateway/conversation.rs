//! One ext-proc stream, from the gateway's side.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use signalbox_protos::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use tokio::sync::mpsc::{self, Permit};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::chunks::{Chunks, Piece};
use super::message::{self, FromPicker, Reply, ToPicker};

/// How long a picker has to end a stream that the gateway has ended, before it is reset.
const FAREWELL: Duration = Duration::from_secs(1);

/// A stream to a picker for one request. Dropping it cancels the stream before its time, which tells the picker
/// that the request was aborted; [`Conversation::finish`] ends it properly.
pub(super) struct Conversation {
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
}

/// Why nothing more comes from a picker.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ending {
    /// It closed the stream properly: it wants to see no more of this request.
    #[error("it closed the stream")]
    Closed,
    /// It could not be reached, or died, or refused, or said something that no picker may say.
    #[error("{0}")]
    Broken(String),
}

impl Conversation {
    /// Opens a stream and says `opening`. The picker is contacted as the inbox is read.
    pub(super) fn open(channel: Channel, opening: ToPicker) -> Self {
        // One place only: the second message is accepted when the connection has taken the first, so no body is
        // read before the picker is known to be there, and none is read faster than it goes out.
        let (sender, receiver) = mpsc::channel(1);
        // It cannot be full or closed yet.
        let _ = sender.try_send(opening);
        let mut client = ExternalProcessorClient::new(channel);
        let opening = Box::pin(async move {
            client.process(ReceiverStream::new(receiver)).await.map(tonic::Response::into_inner)
        });
        Self { outbox: Outbox(sender), inbox: Inbox::Opening(opening) }
    }

    /// Ends the stream from this side and lets the picker end it from its own, without waiting for it here.
    pub(super) fn finish(self) {
        let Self { outbox, mut inbox } = self;
        drop(outbox);
        tokio::spawn(tokio::time::timeout(FAREWELL, async move { while inbox.next().await.is_ok() {} }));
    }
}

/// The way to the picker.
pub(super) struct Outbox(mpsc::Sender<ToPicker>);

impl Outbox {
    /// Waits until the message before has gone out. Waits for ever when the stream is closed: the inbox says so,
    /// and why.
    pub(super) async fn place(&self) -> Permit<'_, ToPicker> {
        match self.0.reserve().await {
            Ok(place) => place,
            Err(_closed) => pending().await,
        }
    }

    /// Takes the next piece of a body and sends it; its length is returned. Takes none before it can be sent, so
    /// nothing is lost when the returned future is dropped before it is ready.
    ///
    /// # Errors
    /// When the body breaks.
    pub(super) async fn forward(
        &self,
        body: &mut Chunks,
        wrap: fn(Piece) -> ToPicker,
    ) -> Result<usize, hyper::Error> {
        let place = self.place().await;
        let piece = body.next().await?;
        let length = piece.bytes.len();
        place.send(wrap(piece));
        Ok(length)
    }
}

type Opening = Pin<Box<dyn Future<Output = Result<Streaming<FromPicker>, Status>> + Send>>;

/// The way from the picker.
pub(super) enum Inbox {
    /// The stream is being opened; a picker may say nothing at all before it has seen the whole body.
    Opening(Opening),
    /// The stream is open.
    Open(Box<Streaming<FromPicker>>),
}

impl Inbox {
    /// What the picker says next. Nothing is lost when the returned future is dropped before it is ready. Not to
    /// be called again after an error.
    ///
    /// # Errors
    /// The [`Ending`], when nothing more will come.
    pub(super) async fn next(&mut self) -> Result<Reply, Ending> {
        if let Self::Opening(opening) = self {
            let stream = opening.await.map_err(|status| broken(&status))?;
            *self = Self::Open(Box::new(stream));
        }
        let Self::Open(stream) = self else { return pending().await };
        match stream.message().await {
            Ok(Some(message)) => message::read(message).map_err(|error| Ending::Broken(error.to_string())),
            Ok(None) => Err(Ending::Closed),
            Err(status) => Err(broken(&status)),
        }
    }
}

/// A status in words: what tonic says, and the innermost cause, which is what the system said.
fn broken(status: &Status) -> Ending {
    let mut innermost: Option<&dyn std::error::Error> = std::error::Error::source(status);
    while let Some(deeper) = innermost.and_then(std::error::Error::source) {
        innermost = Some(deeper);
    }
    let said = format!("{:?}: {}", status.code(), status.message());
    Ending::Broken(match innermost {
        Some(cause) => format!("{said} ({cause})"),
        None => said,
    })
}
