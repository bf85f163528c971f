//! The connection to one aggregator, and the attempts to open it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use signalbox_tls::ConnectError;
use tokio::sync::Mutex;

use super::Connection;

/// The connection to one aggregator, if there is one.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Number of attempts that have ended.
    attempts: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connection: Weak<Connection>,
    /// Why the last attempt failed.
    failure: Option<String>,
}

impl Slot {
    /// Returns the connection if it works, or the result of an attempt that ended while this call waited, or else
    /// that of `connect`.
    pub(super) async fn open<F>(&self, connect: impl FnOnce() -> F) -> Result<Arc<Connection>, ConnectError>
    where
        F: Future<Output = Result<Connection, ConnectError>>,
    {
        let attempts = self.attempts.load(Ordering::Relaxed);
        let mut state = self.state.lock().await;
        if let Some(connection) = state.connection.upgrade().filter(|connection| !connection.is_broken()) {
            return Ok(connection);
        }
        if let Some(failure) = &state.failure
            && self.attempts.load(Ordering::Relaxed) != attempts
        {
            return Err(ConnectError::Failed(failure.clone()));
        }
        let connected = connect().await;
        self.attempts.fetch_add(1, Ordering::Relaxed);
        match connected {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *state = State { connection: Arc::downgrade(&connection), failure: None };
                Ok(connection)
            }
            Err(error) => {
                state.failure = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Returns whether a stream uses the connection.
    pub(super) fn is_connected(&self) -> bool {
        self.state.try_lock().is_ok_and(|state| state.connection.strong_count() > 0)
    }
}
