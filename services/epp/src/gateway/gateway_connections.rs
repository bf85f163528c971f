//! The connections of gateways to one port: counts the streams on them, and can cut them.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use futures_util::{Stream, StreamExt};
use signalbox_tls::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// The connections of gateways to one port, and the ext-proc streams on them.
#[derive(Clone, Debug, Default)]
pub(crate) struct GatewayConnections(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    streams: AtomicUsize,
    is_cut: AtomicBool,
    /// Wake the tasks that wait for data on the connections.
    readers: Mutex<Vec<Weak<AtomicWaker>>>,
}

/// An open ext-proc stream; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenStream(Arc<Shared>);

/// A connection that can be cut.
#[derive(Debug)]
pub(super) struct GatewayConnection {
    connection: Connection,
    reader: Arc<AtomicWaker>,
    shared: Arc<Shared>,
}

impl GatewayConnections {
    /// Counts a stream that opens.
    pub(crate) fn open_stream(&self) -> OpenStream {
        self.0.streams.fetch_add(1, Ordering::Relaxed);
        OpenStream(Arc::clone(&self.0))
    }

    /// Closes all connections, with the streams on them. Returns how many streams were open.
    pub(crate) fn cut(&self) -> usize {
        let streams = self.0.streams.load(Ordering::Relaxed);
        self.0.is_cut.store(true, Ordering::SeqCst);
        let readers = std::mem::take(&mut *self.0.readers.lock().unwrap_or_else(PoisonError::into_inner));
        readers.iter().filter_map(Weak::upgrade).for_each(|reader| reader.wake());
        streams
    }

    /// Returns the accepted connections, such that they can be cut.
    pub(super) fn accept<S: Stream<Item = io::Result<Connection>>>(
        &self,
        incoming: S,
    ) -> impl Stream<Item = io::Result<GatewayConnection>> + use<S> {
        let shared = Arc::clone(&self.0);
        incoming.map(move |accepted| accepted.map(|connection| GatewayConnection::new(connection, &shared)))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl GatewayConnection {
    fn new(connection: Connection, shared: &Arc<Shared>) -> Self {
        let reader = Arc::new(AtomicWaker::new());
        let mut readers = shared.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Arc::downgrade(&reader));
        drop(readers);
        Self { connection, reader, shared: Arc::clone(shared) }
    }

    fn is_cut(&self) -> bool {
        self.shared.is_cut.load(Ordering::SeqCst)
    }
}

impl AsyncRead for GatewayConnection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The waker is registered before the check, so that no cut is missed.
        this.reader.register(context.waker());
        if this.is_cut() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut this.connection).poll_read(context, buffer)
    }
}

impl AsyncWrite for GatewayConnection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().connection).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().connection).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_shutdown(context)
    }
}

impl Connected for GatewayConnection {
    type ConnectInfo = <Connection as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.connection.connect_info()
    }
}
