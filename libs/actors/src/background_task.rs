//! Runs slow work outside of an actor and sends the actor its outcome.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use ractor::{ActorRef, Message};
use tokio_util::task::AbortOnDropHandle;

/// A background task panicked. Holds the panic's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPanic(String);

impl fmt::Display for TaskPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.0)
    }
}

impl std::error::Error for TaskPanic {}

/// A task that works for an actor and reports to it when it is done. Dropping it, e.g. with the actor's
/// state, cancels the work.
#[derive(Debug)]
pub struct BackgroundTask(#[expect(dead_code, reason = "held for its drop")] AbortOnDropHandle<()>);

impl BackgroundTask {
    /// Starts `work` and sends `actor` the message that `report` creates from the outcome. The actor is
    /// notified even if the work panics.
    pub fn start<M: Message, T>(
        actor: ActorRef<M>,
        work: impl Future<Output = T> + Send + 'static,
        report: impl FnOnce(Result<T, TaskPanic>) -> M + Send + 'static,
    ) -> Self {
        let task = async move {
            let outcome = AssertUnwindSafe(work).catch_unwind().await;
            // An actor that has stopped needs no report.
            let _ = actor.cast(report(outcome.map_err(|panic| TaskPanic(panic_message(&*panic)))));
        };
        Self(AbortOnDropHandle::new(tokio::spawn(task)))
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
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

    /// Forwards the outcomes of its background tasks.
    struct Requester;
    type Outcome = Result<u32, TaskPanic>;

    impl Actor for Requester {
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

    async fn requester() -> (ActorRef<Outcome>, UnboundedReceiver<Outcome>) {
        let (sender, outcomes) = mpsc::unbounded_channel();
        let (actor, _) = Actor::spawn(None, Requester, sender).await.unwrap();
        (actor, outcomes)
    }

    #[tokio::test]
    async fn actor_receives_results_and_panics() {
        let (actor, mut outcomes) = requester().await;
        let _done = BackgroundTask::start(actor.clone(), async { 7 }, |outcome| outcome);
        assert_eq!(outcomes.recv().await, Some(Ok(7)));
        let _failed = BackgroundTask::start(actor, async { panic!("lost my way") }, |outcome| outcome);
        assert_eq!(outcomes.recv().await, Some(Err(TaskPanic("lost my way".to_owned()))));
    }

    #[tokio::test]
    async fn dropping_the_task_cancels_the_work() {
        let (actor, _outcomes) = requester().await;
        let alive = Arc::new(());
        let held = alive.clone();
        let work = async move {
            let _held = held;
            std::future::pending().await
        };
        drop(BackgroundTask::start(actor, work, |outcome| outcome));
        let cancelled = async {
            while Arc::strong_count(&alive) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), cancelled).await.unwrap();
    }
}
