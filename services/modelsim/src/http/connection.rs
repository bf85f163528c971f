//! Client connections that break when the pod restarts.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::pod::Pod;

/// Accepts connections that last no longer than the pod's current incarnation.
pub(crate) struct PodListener {
    pub(crate) listener: TcpListener,
    pub(crate) pod: Arc<Pod>,
}

impl Listener for PodListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Without this option Nagle's algorithm delays the small chunks of a stream until the previous one is
        // acknowledged. A socket that rejects the option is slower but works.
        drop(stream.set_nodelay(true));
        let ended = Box::pin(self.pod.incarnations.current().ended.clone().cancelled_owned());
        (Connection { stream, ended, survives_restart: SurvivesRestart::default() }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Whether a connection survives a restart. The connection that requested the restart does, to carry the
/// response.
#[derive(Clone, Debug, Default)]
pub(crate) struct SurvivesRestart(Arc<AtomicBool>);

impl SurvivesRestart {
    /// Lets the connection survive restarts from now on.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Connected<IncomingStream<'_, PodListener>> for SurvivesRestart {
    fn connect_info(stream: IncomingStream<'_, PodListener>) -> Self {
        stream.io().survives_restart.clone()
    }
}

/// A client connection.
pub(crate) struct Connection {
    stream: TcpStream,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    survives_restart: SurvivesRestart,
}

impl Connection {
    /// Returns the stream, or an error if the incarnation that accepted it has ended. Wakes the task when it
    /// ends.
    fn live_stream(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        if self.survives_restart.0.load(Ordering::Acquire) || self.ended.as_mut().poll(context).is_pending() {
            return Ok(Pin::new(&mut self.stream));
        }
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.live_stream(context)?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.live_stream(context)?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.live_stream(context)?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.live_stream(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
