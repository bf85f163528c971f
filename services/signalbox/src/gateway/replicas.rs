//! The endpoint pickers and the connections to them.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use signalbox_tls::{ConnectError, connect_unverified};
use tonic::transport::{Channel, Endpoint};

use super::conversation::Conversation;
use super::message::ToPicker;
use super::rotation::Rotation;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How soon a silent picker is asked whether it is still there, so that a stopped process is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// What a picker may send ahead on one stream. A client that takes nothing holds up this much, on its own stream.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// What it may send ahead on all streams together: never the limit, or slow clients would hold up the others.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 30;

/// How the endpoint pickers are spoken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialling {
    /// Without TLS.
    Plaintext,
    /// With TLS, whatever certificate they show.
    Tls,
}

/// All endpoint pickers, each with one shared connection.
pub(super) struct Replicas {
    pickers: Vec<(SocketAddr, Channel)>,
    rotation: Mutex<Rotation>,
}

impl Replicas {
    /// Pickers at `addresses`, connected to when first asked.
    ///
    /// # Errors
    /// When there is no TLS.
    pub(super) fn new(addresses: &[SocketAddr], dialling: Dialling) -> Result<Self, ConnectError> {
        let picker = |address: &SocketAddr| Ok((*address, connect_lazily(*address, dialling)?));
        let pickers = addresses.iter().map(picker).collect::<Result<_, ConnectError>>()?;
        Ok(Self { pickers, rotation: Mutex::new(Rotation::new(addresses.len())) })
    }

    /// In which order the pickers are to be tried for one request.
    pub(super) fn in_turn(&self) -> Vec<usize> {
        self.rotation().order(Instant::now())
    }

    /// Where a picker listens.
    pub(super) fn address(&self, index: usize) -> SocketAddr {
        self.pickers[index].0
    }

    /// Opens a stream to a picker.
    pub(super) fn open(&self, index: usize, opening: ToPicker) -> Conversation {
        Conversation::open(self.pickers[index].1.clone(), opening)
    }

    /// Notes that a picker could not be asked: it rests while others are there.
    pub(super) fn failed(&self, index: usize) {
        self.rotation().failed(index, Instant::now());
    }

    /// Notes that a picker answered.
    pub(super) fn answered(&self, index: usize) {
        self.rotation().answered(index);
    }

    fn rotation(&self) -> MutexGuard<'_, Rotation> {
        self.rotation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect_lazily(address: SocketAddr, dialling: Dialling) -> Result<Channel, ConnectError> {
    match dialling {
        Dialling::Plaintext => {
            let endpoint =
                Endpoint::from_shared(format!("http://{address}")).expect("a socket address makes a URI");
            Ok(limited(endpoint).connect_lazy())
        }
        Dialling::Tls => connect_unverified(&address.into(), limited),
    }
}

fn limited(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
}
