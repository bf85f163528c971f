//! Whether a member may renew its registration.

use tokio::sync::watch;

/// Lets a member renew its registration only while it works.
#[derive(Clone, Debug)]
pub(crate) struct RenewalGate(Option<watch::Receiver<bool>>);

impl RenewalGate {
    /// A gate that is always open.
    pub(crate) fn always_open() -> Self {
        Self(None)
    }

    /// A gate that is open while `may_renew` is true, and once its sender is gone.
    pub(crate) fn open_while(may_renew: watch::Receiver<bool>) -> Self {
        Self(Some(may_renew))
    }

    /// Returns whether the gate is ever closed.
    pub(crate) fn can_close(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until the gate is open.
    pub(crate) async fn opened(&mut self) {
        if let Some(may_renew) = &mut self.0 {
            // This fails if nobody can close the gate any more.
            let _ = may_renew.wait_for(|may_renew| *may_renew).await;
        }
    }

    /// Waits until the gate is closed.
    pub(crate) async fn closed(&mut self) {
        if let Some(may_renew) = &mut self.0
            && may_renew.wait_for(|may_renew| !may_renew).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}
