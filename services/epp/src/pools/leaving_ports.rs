//! The ports on their way out of service.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::pool_port::PoolPort;
use crate::gateway::health::DrainPhase;

/// How long ports take to go out of service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DrainTimes {
    /// How long a port that reports not serving still accepts requests.
    pub(crate) delay: Duration,
    /// How long its open requests may then take to end.
    pub(crate) timeout: Duration,
}

/// The ports on their way out of service. They report that they are not serving, accept requests until gateways have
/// noticed, and close when their requests have ended.
#[derive(Debug)]
pub(super) struct LeavingPorts {
    drain: DrainTimes,
    /// The number of each port, and a channel that ends its delay.
    ports: Vec<(u16, watch::Sender<bool>)>,
    tasks: JoinSet<()>,
}

impl LeavingPorts {
    pub(super) fn new(drain: DrainTimes) -> Self {
        Self { drain, ports: Vec::new(), tasks: JoinSet::new() }
    }

    /// Takes the ports of a pool out of service, and then runs `after`. If requests are still open after half of the time, runs
    /// `refuse_waiting`: the other half is for those that have a place.
    pub(super) fn add(
        &mut self,
        ports: impl IntoIterator<Item = PoolPort>,
        refuse_waiting: impl FnOnce() + Send + 'static,
        after: impl Future<Output = ()> + Send + 'static,
    ) {
        self.forget_closed();
        let (mut drains, DrainTimes { delay, timeout }) = (JoinSet::new(), self.drain);
        for port in ports {
            let (hand_over, mut is_wanted) = watch::channel(false);
            self.ports.push((port.address().port(), hand_over));
            drains.spawn(async move {
                port.advance(DrainPhase::Announced);
                // Nobody wants the port if the channel is closed.
                let wanted = async { drop(is_wanted.wait_for(|is_wanted| *is_wanted).await) };
                let _ = tokio::time::timeout(delay, wanted).await;
                port.close(timeout).await;
                drop(is_wanted);
            });
        }
        self.tasks.spawn(async move {
            let is_over = async |drains: &mut JoinSet<()>| while drains.join_next().await.is_some() {};
            if tokio::time::timeout(delay + timeout / 2, is_over(&mut drains)).await.is_err() {
                refuse_waiting();
                is_over(&mut drains).await;
            }
            after.await;
        });
    }

    /// Closes the port with this number at once if it is on its way out: another pool gets it. Returns whether it is.
    pub(super) fn hand_over(&mut self, port: u16) -> bool {
        self.forget_closed();
        let mut is_leaving = false;
        for (_, hand_over) in self.ports.iter().filter(|(number, _)| *number == port) {
            hand_over.send_replace(true);
            is_leaving = true;
        }
        is_leaving
    }

    /// Waits until all ports are closed.
    pub(super) async fn finish(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    fn forget_closed(&mut self) {
        self.ports.retain(|(_, hand_over)| !hand_over.is_closed());
        while self.tasks.try_join_next().is_some() {}
    }
}
