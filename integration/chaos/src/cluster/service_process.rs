//! Applies actions to a Signalbox service.

use signalbox_integration::{Service, Signal};

use crate::process_id::ProcessId;
use crate::scenario::Action;

/// A Signalbox service with its identity.
#[derive(Debug)]
pub(crate) struct ServiceProcess {
    pub(crate) id: ProcessId,
    pub(crate) service: Service,
}

impl ServiceProcess {
    /// Applies an action to the service.
    ///
    /// # Errors
    /// Fails when it is not running, or does not exit cleanly.
    pub(crate) async fn apply(&mut self, action: Action) -> anyhow::Result<()> {
        match action {
            Action::Pause => self.service.send(Signal::Stop),
            Action::Resume => self.service.send(Signal::Continue),
            Action::Kill => self.service.kill(),
            Action::Terminate => self.service.terminate().await,
        }
    }
}
