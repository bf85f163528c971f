//! Slow work that an actor has done for it.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use ractor::{ActorRef, Message};
use tokio_util::task::AbortOnDropHandle;

/// An errand ended in a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked(String);

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.0)
    }
}

impl std::error::Error for Panicked {}

/// A task that works for an actor and then reports to it. Dropped, e.g. with the actor's state, it is called off.
#[derive(Debug)]
pub struct Errand(#[expect(dead_code, reason = "held for its drop")] AbortOnDropHandle<()>);

impl Errand {
    /// Starts `work` and sends `actor` what `report` makes of its outcome. The actor hears of it even if the work panics.
    pub fn start<M: Message, T>(
        actor: ActorRef<M>,
        work: impl Future<Output = T> + Send + 'static,
        report: impl FnOnce(Result<T, Panicked>) -> M + Send + 'static,
    ) -> Self {
        let task = async move {
            let outcome = AssertUnwindSafe(work).catch_unwind().await;
            // An actor that is gone needs no report.
            let _ = actor.cast(report(outcome.map_err(|panic| Panicked(message_of(&*panic)))));
        };
        Self(AbortOnDropHandle::new(tokio::spawn(task)))
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ractor::{Actor, ActorProcessingErr};
    use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

    use super::*;

    struct Employer;
    type Outcome = Result<u32, Panicked>;

    impl Actor for Employer {
        type Msg = Outcome;
        type State = UnboundedSender<Outcome>;
        type Arguments = UnboundedSender<Outcome>;

        async fn pre_start(
            &self,
            _myself: ActorRef<Outcome>,
            outcomes: UnboundedSender<Outcome>,
        ) -> Result<UnboundedSender<Outcome>, ActorProcessingErr> {
            Ok(outcomes)
        }

        async fn handle(
            &self,
            _myself: ActorRef<Outcome>,
            outcome: Outcome,
            outcomes: &mut UnboundedSender<Outcome>,
        ) -> Result<(), ActorProcessingErr> {
            outcomes.send(outcome).map_err(Into::into)
        }
    }

    async fn employer() -> (ActorRef<Outcome>, UnboundedReceiver<Outcome>) {
        let (sender, outcomes) = mpsc::unbounded_channel();
        let (actor, _) = Actor::spawn(None, Employer, sender).await.unwrap();
        (actor, outcomes)
    }

    #[tokio::test]
    async fn the_outcome_comes_back_and_so_does_a_panic() {
        let (actor, mut outcomes) = employer().await;
        let _done = Errand::start(actor.clone(), async { 7 }, |outcome| outcome);
        assert_eq!(outcomes.recv().await, Some(Ok(7)));
        let _failed = Errand::start(actor, async { panic!("lost my way") }, |outcome| outcome);
        assert_eq!(outcomes.recv().await, Some(Err(Panicked("lost my way".to_owned()))));
    }

    #[tokio::test]
    async fn dropped_it_is_called_off() {
        let (actor, _outcomes) = employer().await;
        let alive = Arc::new(());
        let held = alive.clone();
        let work = async move {
            let _held = held;
            std::future::pending().await
        };
        drop(Errand::start(actor, work, |outcome| outcome));
        let gone = async {
            while Arc::strong_count(&alive) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
    }
}
