//! The endpoint pickers and their connections.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use signalbox_tls::{ConnectError, connect_unverified};
use tonic::transport::{Channel, Endpoint};

use super::messages::ToPicker;
use super::round_robin::RoundRobin;
use super::stream::ExtProcStream;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Interval of HTTP/2 pings to a silent picker, and the time it has to answer one. Detects stopped processes.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Flow-control window of one stream. A client that reads nothing blocks at most this much data, on its own
/// stream.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// Flow-control window of a connection. It must never be the limit, or slow clients would block the others.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 30;

/// Transport of the connections to endpoint pickers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PickerTransport {
    /// Plaintext gRPC.
    Plaintext,
    /// TLS without verification of the picker's certificate.
    Tls,
}

/// All endpoint pickers, each with one connection that all requests share.
pub(crate) struct Pickers {
    pickers: Vec<(SocketAddr, Channel)>,
    round_robin: Mutex<RoundRobin>,
}

impl Pickers {
    /// Creates pickers at `addresses`. Connects to each of them on first use.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(addresses: &[SocketAddr], transport: PickerTransport) -> Result<Self, ConnectError> {
        let picker = |address: &SocketAddr| Ok((*address, connect_lazily(*address, transport)?));
        let pickers = addresses.iter().map(picker).collect::<Result<_, ConnectError>>()?;
        Ok(Self { pickers, round_robin: Mutex::new(RoundRobin::new(addresses.len())) })
    }

    /// Returns the order in which to try the pickers for one request.
    pub(crate) fn next_order(&self) -> Vec<usize> {
        self.round_robin().order(Instant::now())
    }

    /// Returns the address of a picker.
    pub(crate) fn address(&self, index: usize) -> SocketAddr {
        self.pickers[index].0
    }

    /// Opens a stream to a picker and sends `opening`.
    pub(crate) fn open(&self, index: usize, opening: ToPicker) -> ExtProcStream {
        ExtProcStream::open(self.pickers[index].1.clone(), opening)
    }

    /// Records that a picker failed. For a while it is tried only after all others.
    pub(crate) fn record_failure(&self, index: usize) {
        self.round_robin().record_failure(index, Instant::now());
    }

    /// Records that a picker answered.
    pub(crate) fn record_success(&self, index: usize) {
        self.round_robin().record_success(index);
    }

    fn round_robin(&self) -> MutexGuard<'_, RoundRobin> {
        self.round_robin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect_lazily(address: SocketAddr, transport: PickerTransport) -> Result<Channel, ConnectError> {
    match transport {
        PickerTransport::Plaintext => {
            let endpoint =
                Endpoint::from_shared(format!("http://{address}")).expect("a socket address makes a URI");
            Ok(limited(endpoint).connect_lazy())
        }
        PickerTransport::Tls => connect_unverified(&address.into(), limited),
    }
}

fn limited(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_INTERVAL)
}
