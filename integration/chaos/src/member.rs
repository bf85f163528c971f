//! What is done to a service.

use signalbox_integration::{Service, Signal};

use crate::cast::Who;
use crate::script::Blow;

/// One of the services, in its part.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) who: Who,
    pub(crate) service: Service,
}

impl Member {
    /// Does this to it.
    ///
    /// # Errors
    /// When it does not run, or does not end as it should.
    pub(crate) async fn take(&mut self, blow: Blow) -> anyhow::Result<()> {
        match blow {
            Blow::Stop => self.service.send(Signal::Stop),
            Blow::Continue => self.service.send(Signal::Continue),
            Blow::Kill => self.service.kill(),
            Blow::Terminate => self.service.terminate().await,
        }
    }
}
