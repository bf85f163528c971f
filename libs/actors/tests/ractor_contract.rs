//! The guarantees of ractor that Signalbox's actors rely on. These tests fail if an upgrade of ractor changes
//! one of them.
#![allow(clippy::unwrap_used)] // test code only

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, ActorStatus, SupervisionEvent};
use signalbox_actors::{ChildExit, child_exit};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

const PATIENCE: Duration = Duration::from_secs(20);

enum Command {
    Note { sender: usize, number: usize },
    Panic,
    Fail,
}

/// Records notes, and fails on command. `WorkerState` shows whether its state was dropped.
struct Worker;

struct WorkerState {
    notes: UnboundedSender<(usize, usize)>,
    _alive: Arc<()>,
}

impl Actor for Worker {
    type Msg = Command;
    type State = WorkerState;
    type Arguments = WorkerState;

    async fn pre_start(
        &self,
        _myself: ActorRef<Command>,
        state: WorkerState,
    ) -> Result<WorkerState, ActorProcessingErr> {
        Ok(state)
    }

    async fn handle(
        &self,
        _myself: ActorRef<Command>,
        command: Command,
        state: &mut WorkerState,
    ) -> Result<(), ActorProcessingErr> {
        match command {
            Command::Note { sender, number } => state.notes.send((sender, number)).map_err(Into::into),
            Command::Panic => panic!("asked to panic"),
            Command::Fail => Err("asked to fail".into()),
        }
    }
}

/// Forwards how its children exit and keeps running.
struct Supervisor;

impl Actor for Supervisor {
    type Msg = ();
    type State = UnboundedSender<ChildExit>;
    type Arguments = UnboundedSender<ChildExit>;

    async fn pre_start(
        &self,
        _myself: ActorRef<()>,
        exits: UnboundedSender<ChildExit>,
    ) -> Result<UnboundedSender<ChildExit>, ActorProcessingErr> {
        Ok(exits)
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<()>,
        event: SupervisionEvent,
        exits: &mut UnboundedSender<ChildExit>,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(exit) = child_exit(event) {
            exits.send(exit)?;
        }
        Ok(())
    }
}

struct Fixture {
    supervisor: ActorRef<()>,
    worker: ActorRef<Command>,
    exits: UnboundedReceiver<ChildExit>,
    notes: UnboundedReceiver<(usize, usize)>,
    alive: Arc<()>,
}

impl Fixture {
    async fn start() -> Self {
        let (exits_in, exits) = mpsc::unbounded_channel();
        let (notes_in, notes) = mpsc::unbounded_channel();
        let (supervisor, _) = Actor::spawn(None, Supervisor, exits_in).await.unwrap();
        let alive = Arc::new(());
        let state = WorkerState { notes: notes_in, _alive: alive.clone() };
        let (worker, _) = Actor::spawn_linked(None, Worker, state, supervisor.get_cell()).await.unwrap();
        Self { supervisor, worker, exits, notes, alive }
    }

    async fn next_exit(&mut self) -> ChildExit {
        tokio::time::timeout(PATIENCE, self.exits.recv()).await.unwrap().unwrap()
    }

    /// Waits until the worker's state is dropped.
    async fn expect_state_dropped(&self) {
        let dropped = async {
            while Arc::strong_count(&self.alive) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, dropped).await.unwrap();
    }

    async fn expect_failure(&self, exit: &ChildExit, message: &str) {
        match exit {
            ChildExit::Failed { child, error } => {
                assert_eq!(child.get_id(), self.worker.get_id());
                assert!(error.contains(message), "{error}");
            }
            ChildExit::Stopped { .. } => panic!("{exit:?}"),
        }
        self.expect_state_dropped().await;
        assert_eq!(self.supervisor.get_status(), ActorStatus::Running);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_of_one_sender_arrive_once_and_in_order() {
    const SENDERS: usize = 4;
    const EACH: usize = 1_000;
    let mut fixture = Fixture::start().await;
    for sender in 0..SENDERS {
        let worker = fixture.worker.clone();
        tokio::spawn(async move {
            for number in 0..EACH {
                worker.cast(Command::Note { sender, number }).unwrap();
            }
        });
    }
    let mut next = [0; SENDERS];
    for _ in 0..SENDERS * EACH {
        let (sender, number) = tokio::time::timeout(PATIENCE, fixture.notes.recv()).await.unwrap().unwrap();
        assert_eq!(number, next[sender]);
        next[sender] += 1;
    }
    assert_eq!(next, [EACH; SENDERS]);
}

#[tokio::test]
async fn panic_in_a_handler_reaches_the_supervisor_as_failure() {
    let mut fixture = Fixture::start().await;
    fixture.worker.cast(Command::Panic).unwrap();
    let exit = fixture.next_exit().await;
    fixture.expect_failure(&exit, "asked to panic").await;
}

#[tokio::test]
async fn error_of_a_handler_reaches_the_supervisor_as_failure() {
    let mut fixture = Fixture::start().await;
    fixture.worker.cast(Command::Fail).unwrap();
    let exit = fixture.next_exit().await;
    fixture.expect_failure(&exit, "asked to fail").await;
}

#[tokio::test]
async fn stop_reaches_the_supervisor_with_its_reason() {
    let mut fixture = Fixture::start().await;
    fixture.worker.stop(Some("enough".to_owned()));
    let exit = fixture.next_exit().await;
    assert!(
        matches!(&exit, ChildExit::Stopped { reason: Some(reason), .. } if reason == "enough"),
        "{exit:?}"
    );
}

#[tokio::test]
async fn children_stop_with_their_supervisor() {
    let fixture = Fixture::start().await;
    fixture.supervisor.stop_and_wait(None, Some(PATIENCE)).await.unwrap();
    fixture.expect_state_dropped().await;
    assert!(fixture.worker.cast(Command::Fail).is_err());
}

#[tokio::test]
async fn message_to_a_stopped_actor_is_an_error_at_the_sender() {
    let mut fixture = Fixture::start().await;
    fixture.worker.cast(Command::Fail).unwrap();
    fixture.next_exit().await;
    fixture.worker.wait(Some(PATIENCE)).await.unwrap();
    assert!(fixture.worker.cast(Command::Panic).is_err());
}
