//! Connections that break when the pod restarts.

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

use crate::http::Service;

/// Accepts connections that last no longer than the pod's present life.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) service: Arc<Service>,
}

impl Listener for Door {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Without it, Nagle's algorithm holds back the small chunks of a stream until the last one is acknowledged;
        // a socket that refuses the option is slower, not wrong.
        drop(stream.set_nodelay(true));
        let gone = Box::pin(self.service.lives.present().gone.clone().cancelled_owned());
        (Connection { stream, gone, spared: Spared::default() }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Whether a connection outlives a restart: the one on which the restart is asked for does, to bring the answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spared(Arc<AtomicBool>);

impl Spared {
    /// From now on it does.
    pub(crate) fn spare(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Connected<IncomingStream<'_, Door>> for Spared {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().spared.clone()
    }
}

/// A connection.
pub(crate) struct Connection {
    stream: TcpStream,
    gone: Pin<Box<WaitForCancellationFutureOwned>>,
    spared: Spared,
}

impl Connection {
    /// The stream, unless the life that it was accepted in is gone; wakes the task when it goes.
    fn alive(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        if self.spared.0.load(Ordering::Acquire) || self.gone.as_mut().poll(context).is_pending() {
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
        self.alive(context)?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.alive(context)?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.alive(context)?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.alive(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
