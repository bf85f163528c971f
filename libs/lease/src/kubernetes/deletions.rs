//! Tells a registration that its Lease was deleted.

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::Mirror;

/// The deletions of one Lease, as the watch reports them.
#[derive(Debug)]
pub(super) struct Deletions {
    names: broadcast::Receiver<String>,
    object: String,
    /// Whether the next deletion counts. After one, only the next renewal at its time makes it so: somebody who
    /// deletes the Lease again and again is not answered each time.
    is_armed: bool,
}

impl Deletions {
    pub(super) fn new(mirror: &Mirror, object: &str) -> Self {
        Self { names: mirror.deletions.subscribe(), object: object.to_owned(), is_armed: true }
    }

    /// Makes the next deletion count.
    pub(super) fn arm(&mut self) {
        self.is_armed = true;
    }

    /// Ignores what was reported so far.
    pub(super) fn skip_earlier(&mut self) {
        while !matches!(self.names.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
    }

    /// Waits until the Lease is deleted, if that counts.
    pub(super) async fn wait(&mut self) {
        while self.is_armed {
            match self.names.recv().await {
                Ok(name) => self.is_armed = name != self.object,
                // It can be among those that were missed.
                Err(RecvError::Lagged(_)) => self.is_armed = false,
                Err(RecvError::Closed) => break,
            }
            if !self.is_armed {
                return;
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn one_deletion_counts_until_it_is_armed_again() {
        let (names, receiver) = broadcast::channel(2);
        let mut deletions = Deletions { names: receiver, object: "a".to_owned(), is_armed: true };
        let mut is_told = |reported: &[&str], is_armed: bool| {
            reported.iter().for_each(|name| drop(names.send((*name).to_owned())));
            if is_armed {
                deletions.arm();
            }
            let is_told = deletions.wait().now_or_never().is_some();
            deletions.skip_earlier();
            is_told
        };
        assert!(!is_told(&["b"], false));
        assert!(is_told(&["b", "a"], false));
        assert!(!is_told(&["a"], false));
        assert!(is_told(&["a"], true));
        // Too many to know.
        assert!(is_told(&["b", "b", "b"], true));
        assert!(!is_told(&[], true));
    }
}
