//! Runs slow work outside of an actor and sends the actor its outcome.

use ractor::{ActorRef, Message};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

/// A task that works for an actor and reports to it when it is done. Dropping it, e.g. with the actor's
/// state, cancels the work.
#[derive(Debug)]
pub struct BackgroundTask(#[expect(dead_code, reason = "held for its drop")] AbortOnDropHandle<()>);

impl BackgroundTask {
    /// Starts `work` and sends `actor` the message that `report` creates from the outcome. The actor is notified even if
    /// the work panics: the runtime catches the panic, which the log has with its place.
    pub fn start<M: Message, T: Send + 'static>(
        actor: ActorRef<M>,
        work: impl Future<Output = T> + Send + 'static,
        report: impl FnOnce(Result<T, JoinError>) -> M + Send + 'static,
    ) -> Self {
        let work = AbortOnDropHandle::new(tokio::spawn(work));
        let task = async move {
            // An actor that has stopped needs no report.
            let _ = actor.cast(report(work.await));
        };
        Self(AbortOnDropHandle::new(tokio::spawn(task)))
    }
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
    type Outcome = Result<u32, JoinError>;

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
        assert_eq!(outcomes.recv().await.unwrap().unwrap(), 7);
        let _failed = BackgroundTask::start(actor, async { panic!("lost my way") }, |outcome| outcome);
        let panic = outcomes.recv().await.unwrap().unwrap_err();
        assert!(
            panic.is_panic() && panic.to_string().ends_with("panicked with message \"lost my way\""),
            "{panic}"
        );
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
