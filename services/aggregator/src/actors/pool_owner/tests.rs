use signalbox_lease::{Coordinator, Member, Role};
use signalbox_tls::Security;
use signalbox_types::PoolId;
use tokio::sync::mpsc;

use super::*;
use crate::actors::coordination::OwnerHistory;
use crate::actors::history_budget::HistoryBudget;
use crate::actors::setups::{PoolOwnerSetups, RoleSettings};
use crate::metrics::Metrics;

const FOLLOWER: u64 = 1;

/// Handles messages as the pool's actor does, and reports the followers after each one.
struct Watched(mpsc::UnboundedSender<Vec<u64>>);

impl Actor for Watched {
    type Msg = PoolOwnerMessage;
    type State = State;
    type Arguments = PoolOwnerSetup;

    async fn pre_start(
        &self,
        myself: PoolOwnerRef,
        setup: PoolOwnerSetup,
    ) -> Result<State, ActorProcessingErr> {
        PoolOwner.pre_start(myself, setup).await
    }

    async fn handle(
        &self,
        myself: PoolOwnerRef,
        message: PoolOwnerMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        PoolOwner.handle(myself, message, state).await?;
        let _ = self.0.send(state.role.followers().collect());
        Ok(())
    }
}

/// Starts the actor of a pool. The runtime has one thread: the actor handles nothing before the test waits.
async fn start() -> (PoolOwnerRef, Arc<PoolHandle>, mpsc::UnboundedReceiver<Vec<u64>>) {
    let coordinator = Coordinator::in_process();
    let member = Member { role: Role::Aggregator, name: "a".to_owned(), address: None };
    let session = Arc::new(coordinator.join(member, Duration::from_secs(60)));
    let membership = Membership {
        coordinator,
        session,
        owner_history: OwnerHistory::SinceStart,
        claim_failures: Arc::default(),
    };
    let settings = RoleSettings {
        pool: signalbox_state::PoolConfig::default(),
        takeover_wait: Duration::from_secs(2),
        lease_ttl: Duration::from_secs(6),
        failback_after: Duration::from_secs(60),
        history: HistoryBudget::new(1 << 20, Duration::ZERO),
    };
    let setups = PoolOwnerSetups::new(settings, Security::Local, membership, Arc::new(Metrics::default()));
    let id = PoolId { namespace: "n".to_owned(), name: "p".to_owned() };
    let spec = PoolSpec { id: id.clone(), endpoints: Vec::new(), models: Arc::default() };
    let setup = setups.pool(id, watch::Sender::new(Arc::new(spec)).subscribe());
    let (handle, (followers, reports)) = (Arc::clone(&setup.handle), mpsc::unbounded_channel());
    let (actor, _) = Actor::spawn(None, Watched(followers), setup).await.unwrap();
    (actor, handle, reports)
}

fn closed(stream: u64) -> BulkMessage {
    BulkMessage::StreamEvent(signalbox_peers::StreamEvent::Closed { stream })
}

fn joined() -> PoolOwnerMessage {
    PoolOwnerMessage::FollowerJoined { follower: FOLLOWER, name: "replica".to_owned() }
}

/// The maximum number of messages until a follower has come or gone.
const MAX_MESSAGES: usize = 10;

/// Waits until a follower is known.
async fn assert_known(reports: &mut mpsc::UnboundedReceiver<Vec<u64>>) {
    for _ in 0..MAX_MESSAGES {
        if !reports.recv().await.unwrap().is_empty() {
            return;
        }
    }
    panic!("no follower is known after {MAX_MESSAGES} messages");
}

/// Asserts that no follower is left after the next few messages.
async fn assert_forgotten(reports: &mut mpsc::UnboundedReceiver<Vec<u64>>) {
    for _ in 0..MAX_MESSAGES {
        if reports.recv().await.unwrap().is_empty() {
            return;
        }
    }
    panic!("the follower is still known after {MAX_MESSAGES} messages");
}

#[tokio::test]
async fn follower_that_leaves_while_its_arrival_waits_is_forgotten() {
    let (actor, handle, mut reports) = start().await;
    handle.bulk.push(&actor, closed(7)).unwrap();
    actor.cast(joined()).unwrap();
    actor.cast(PoolOwnerMessage::FollowerLeft(FOLLOWER)).unwrap();
    assert_known(&mut reports).await;
    assert_forgotten(&mut reports).await;
    actor.stop(None);
}

#[tokio::test]
async fn follower_leaves_after_what_it_sent_with_content() {
    let (actor, handle, mut reports) = start().await;
    actor.cast(joined()).unwrap();
    actor.cast(PoolOwnerMessage::FollowerLeft(FOLLOWER)).unwrap();
    handle.bulk.push(&actor, closed(7)).unwrap();
    assert_known(&mut reports).await;
    assert_eq!(vec![FOLLOWER], reports.recv().await.unwrap(), "it leaves through the bulk queue");
    assert_forgotten(&mut reports).await;
    actor.stop(None);
}
