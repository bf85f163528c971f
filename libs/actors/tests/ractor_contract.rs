//! What the actors of Signalbox rely on ractor for. If an upgrade changes one of these, this says so.
#![allow(clippy::unwrap_used)] // it is all tests

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, ActorStatus, SupervisionEvent};
use signalbox_actors::{Ended, ended};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

const PATIENCE: Duration = Duration::from_secs(20);

enum Order {
    Note { sender: usize, number: usize },
    Panic,
    Fail,
}

/// Notes what it is told, or ends badly when told to. Says so when its state is dropped.
struct Clerk;

struct Ledger {
    notes: UnboundedSender<(usize, usize)>,
    _alive: Arc<()>,
}

impl Actor for Clerk {
    type Msg = Order;
    type State = Ledger;
    type Arguments = Ledger;

    async fn pre_start(
        &self,
        _myself: ActorRef<Order>,
        ledger: Ledger,
    ) -> Result<Ledger, ActorProcessingErr> {
        Ok(ledger)
    }

    async fn handle(
        &self,
        _myself: ActorRef<Order>,
        order: Order,
        ledger: &mut Ledger,
    ) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Note { sender, number } => ledger.notes.send((sender, number)).map_err(Into::into),
            Order::Panic => panic!("told to panic"),
            Order::Fail => Err("told to fail".into()),
        }
    }
}

/// Passes on how its children end, and goes on.
struct Overseer;

impl Actor for Overseer {
    type Msg = ();
    type State = UnboundedSender<Ended>;
    type Arguments = UnboundedSender<Ended>;

    async fn pre_start(
        &self,
        _myself: ActorRef<()>,
        ends: UnboundedSender<Ended>,
    ) -> Result<UnboundedSender<Ended>, ActorProcessingErr> {
        Ok(ends)
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<()>,
        event: SupervisionEvent,
        ends: &mut UnboundedSender<Ended>,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(end) = ended(event) {
            ends.send(end)?;
        }
        Ok(())
    }
}

struct Family {
    overseer: ActorRef<()>,
    clerk: ActorRef<Order>,
    ends: UnboundedReceiver<Ended>,
    notes: UnboundedReceiver<(usize, usize)>,
    alive: Arc<()>,
}

impl Family {
    async fn start() -> Self {
        let (ends_in, ends) = mpsc::unbounded_channel();
        let (notes_in, notes) = mpsc::unbounded_channel();
        let (overseer, _) = Actor::spawn(None, Overseer, ends_in).await.unwrap();
        let alive = Arc::new(());
        let ledger = Ledger { notes: notes_in, _alive: alive.clone() };
        let (clerk, _) = Actor::spawn_linked(None, Clerk, ledger, overseer.get_cell()).await.unwrap();
        Self { overseer, clerk, ends, notes, alive }
    }

    async fn next_end(&mut self) -> Ended {
        tokio::time::timeout(PATIENCE, self.ends.recv()).await.unwrap().unwrap()
    }

    /// The actor's state is dropped, whatever way it ended.
    async fn expect_state_dropped(&self) {
        let dropped = async {
            while Arc::strong_count(&self.alive) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, dropped).await.unwrap();
    }

    async fn expect_failure(&self, end: &Ended, message: &str) {
        match end {
            Ended::Failed { child, error } => {
                assert_eq!(child.get_id(), self.clerk.get_id());
                assert!(error.contains(message), "{error}");
            }
            Ended::Stopped { .. } => panic!("{end:?}"),
        }
        self.expect_state_dropped().await;
        assert_eq!(self.overseer.get_status(), ActorStatus::Running);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_of_one_sender_arrive_once_and_in_order() {
    const SENDERS: usize = 4;
    const EACH: usize = 1_000;
    let mut family = Family::start().await;
    for sender in 0..SENDERS {
        let clerk = family.clerk.clone();
        tokio::spawn(async move {
            for number in 0..EACH {
                clerk.cast(Order::Note { sender, number }).unwrap();
            }
        });
    }
    let mut next = [0; SENDERS];
    for _ in 0..SENDERS * EACH {
        let (sender, number) = tokio::time::timeout(PATIENCE, family.notes.recv()).await.unwrap().unwrap();
        assert_eq!(number, next[sender]);
        next[sender] += 1;
    }
    assert_eq!(next, [EACH; SENDERS]);
}

#[tokio::test]
async fn a_panic_in_a_handler_reaches_the_supervisor_as_a_failure() {
    let mut family = Family::start().await;
    family.clerk.cast(Order::Panic).unwrap();
    let end = family.next_end().await;
    family.expect_failure(&end, "told to panic").await;
}

#[tokio::test]
async fn an_error_of_a_handler_reaches_the_supervisor_as_a_failure() {
    let mut family = Family::start().await;
    family.clerk.cast(Order::Fail).unwrap();
    let end = family.next_end().await;
    family.expect_failure(&end, "told to fail").await;
}

#[tokio::test]
async fn a_stop_reaches_the_supervisor_with_its_reason() {
    let mut family = Family::start().await;
    family.clerk.stop(Some("enough".to_owned()));
    let end = family.next_end().await;
    assert!(matches!(&end, Ended::Stopped { reason: Some(reason), .. } if reason == "enough"), "{end:?}");
}

#[tokio::test]
async fn children_end_with_their_supervisor() {
    let family = Family::start().await;
    family.overseer.stop_and_wait(None, Some(PATIENCE)).await.unwrap();
    family.expect_state_dropped().await;
    assert!(family.clerk.cast(Order::Fail).is_err());
}

#[tokio::test]
async fn a_message_that_comes_too_late_is_an_error_at_the_sender() {
    let mut family = Family::start().await;
    family.clerk.cast(Order::Fail).unwrap();
    family.next_end().await;
    family.clerk.wait(Some(PATIENCE)).await.unwrap();
    assert!(family.clerk.cast(Order::Panic).is_err());
}
