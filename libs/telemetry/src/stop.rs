//! The signals by which a process is asked to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Listens for SIGTERM and Ctrl-C from now on; the returned future ends with the first of them.
///
/// # Errors
/// When the signals cannot be listened for.
pub fn stop_requested() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
