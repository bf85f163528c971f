//! The stream to one aggregator.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use signalbox_protos::signalbox::v1 as pb;
use signalbox_protos::signalbox::v1::fleet_client::FleetClient;
use signalbox_tls::ConnectError;
use signalbox_types::PeerAddress;
use signalbox_wire::{Hello, WireError};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::merge::FleetInput;
use crate::connections::{Connection, Connections, status_reason};
use crate::reopening::Reopening;

/// A stream that stays silent this long is dead. Aggregators send their state every second.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(3);

/// Time limit for an aggregator to accept the stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

/// The maximum size of a state: 100,000 pools with the longest names. A state contains all pools of the cluster.
const MAX_STATE_BYTES: usize = 64 << 20;

/// A stream that can be opened repeatedly.
pub(super) struct FleetStream {
    pub(super) aggregator: PeerAddress,
    pub(super) hello: Hello,
    pub(super) connections: Connections,
    pub(super) inputs: mpsc::Sender<FleetInput>,
}

/// Why a stream ended or could not be opened.
#[derive(Debug, Error)]
enum StreamEnd {
    #[error("cannot connect: {0}")]
    Connect(#[from] ConnectError),
    #[error("refused: {} ({:?})", status_reason(.0), .0.code())]
    Refused(Box<tonic::Status>),
    #[error("no answer within {} s", OPEN_TIMEOUT.as_secs())]
    OpenTimeout,
    #[error("closed by the aggregator: {0}")]
    Closed(String),
    #[error("no fleet state for {} s", SILENCE_TIMEOUT.as_secs())]
    Silent,
    #[error(transparent)]
    InvalidMessage(#[from] WireError),
    #[error("nobody receives the fleet")]
    ReceiverGone,
}

impl FleetStream {
    /// Reopens the stream whenever it ends.
    pub(super) async fn keep_open(self) {
        let mut reopening = Reopening::new();
        loop {
            let (started, mut has_delivered) = (Instant::now(), false);
            let Err(end) = self.read(&mut has_delivered).await;
            let ended = FleetInput::Ended(self.aggregator.clone());
            if matches!(end, StreamEnd::ReceiverGone) || self.inputs.send(ended).await.is_err() {
                return;
            }
            reopening.wait(&self.aggregator, started, has_delivered, &end.to_string()).await;
        }
    }

    async fn read(&self, has_delivered: &mut bool) -> Result<Infallible, StreamEnd> {
        let connection = self.connections.open(&self.aggregator).await?;
        let ended = self.read_on(&connection, has_delivered).await;
        if let Err(StreamEnd::OpenTimeout | StreamEnd::Silent) = ended {
            connection.mark_broken();
        }
        ended
    }

    async fn read_on(
        &self,
        connection: &Connection,
        has_delivered: &mut bool,
    ) -> Result<Infallible, StreamEnd> {
        let mut client = FleetClient::new(connection.channel()).max_decoding_message_size(MAX_STATE_BYTES);
        let request = pb::FleetRequest { hello: Some(self.hello.message()) };
        let mut states = match timeout(OPEN_TIMEOUT, client.watch(request)).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => {
                connection.observe(&status);
                return Err(StreamEnd::Refused(Box::new(status)));
            }
            Err(_) => return Err(StreamEnd::OpenTimeout),
        };
        loop {
            let state = match timeout(SILENCE_TIMEOUT, states.message()).await {
                Ok(Ok(Some(state))) => signalbox_wire::decode_fleet_state(state)?,
                Ok(Ok(None)) => return Err(StreamEnd::Closed("no reason given".to_owned())),
                Ok(Err(status)) => {
                    connection.observe(&status);
                    return Err(StreamEnd::Closed(status_reason(&status)));
                }
                Err(_) => return Err(StreamEnd::Silent),
            };
            *has_delivered = true;
            let input = FleetInput::Received(self.aggregator.clone(), state);
            self.inputs.send(input).await.map_err(|_| StreamEnd::ReceiverGone)?;
        }
    }
}
