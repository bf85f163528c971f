use signalbox_peers::{Connections, FollowSettings, FollowedPool};
use signalbox_state::{Change, Frame, FromAggregator, Pool, ScrapeStatus};
use signalbox_tls::Security;
use signalbox_types::{EndpointKey, Load};
use signalbox_wire::Hello;
use tokio::sync::Semaphore;

use super::*;
use crate::test_support::{FIRST, SECOND, picker_of, pool};

/// How long a condition may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Number of the owner's stream.
const STREAM: u64 = 1;

/// An uplink that sends nothing.
struct SilentUplink;

impl Actor for SilentUplink {
    type Msg = uplink::Message;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: UplinkRef, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

/// A keeper that follows `pool`, whose messages a test sends. On its runtime of one thread, it handles them when the
/// test waits.
struct Kept {
    pool: Pool,
    picker: Arc<Picker>,
    keeper: KeeperRef,
    seq: u64,
}

impl Kept {
    /// Starts a keeper and waits until it shows the pool.
    async fn start() -> Self {
        let picker = Arc::new(picker_of("default/p"));
        let (uplink, _) = Actor::spawn(None, SilentUplink, ()).await.unwrap();
        let hello = Hello { pool: None, name: "epp".to_owned() };
        let peers = FollowSettings {
            pool: Arc::new(FollowedPool::requested_by(&hello)),
            hello,
            aggregators: watch::channel(Vec::new()).1,
            connections: Connections::new(Security::Local),
        };
        let (owner, ready) = (Arc::new(watch::channel(None).0), Arc::new(watch::channel(false).0));
        let setup = Setup { picker: Arc::clone(&picker), peers, owner, ready, uplink };
        let (keeper, _) = Actor::spawn(None, ViewKeeper, setup).await.unwrap();
        let pool = pool(&[FIRST, SECOND], ScrapeStatus::Fresh);
        let snapshot = pool.snapshot();
        let kept = Self { picker, keeper, seq: snapshot.version.seq, pool };
        for frame in Arc::new(snapshot).frames() {
            kept.send(frame);
        }
        kept.wait_shown().await;
        kept
    }

    /// Sends a frame. Returns a semaphore with a permit once the keeper has handled it.
    fn send(&self, frame: Frame) -> Arc<Semaphore> {
        let handled = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&handled).try_acquire_owned().unwrap();
        let message = FromAggregator::Frame(frame);
        let event = StreamEvent::Received { stream: STREAM, message, permit };
        self.keeper.cast(Message::StreamEvent(event)).unwrap();
        handled
    }

    /// Sends the next change.
    fn send_change(&mut self) {
        let endpoint: EndpointKey = self.pool.pool_state().endpoints().next().unwrap().key;
        let load = Load { requests: self.seq as u32, ..Load::ZERO };
        let changes = vec![Change::LoadChanged { endpoint, origin: Origin(7), load }].into();
        let (from, to) = (self.seq, self.seq + 1);
        self.send(Frame::Delta { epoch: 1, from, to, changes });
        self.seq = to;
    }

    /// Waits until decisions read the latest state.
    async fn wait_shown(&self) {
        let latest = Some(Version { epoch: 1, seq: self.seq });
        let shown = async {
            while self.picker.snapshot.load().view.version != latest {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(DEADLINE, shown).await.expect("the view shows the latest state");
    }

    fn views(&self) -> u64 {
        self.picker.metrics.views_published.get()
    }
}

#[tokio::test]
async fn messages_that_wait_together_make_one_view() {
    let mut kept = Kept::start().await;
    assert_eq!(1, kept.views(), "the snapshot is shown at once, and once");
    (0..50).for_each(|_| kept.send_change());
    kept.wait_shown().await;
    assert_eq!(2, kept.views());
}

#[tokio::test]
async fn heartbeat_publishes_nothing() {
    let mut kept = Kept::start().await;
    let before = kept.picker.snapshot.load_full();
    let digest = kept.pool.pool_state().digest();
    let heartbeat = Frame::Heartbeat { epoch: 1, seq: kept.seq, now_ms: 1, digest };
    let handled = kept.send(heartbeat);
    let _permit = tokio::time::timeout(DEADLINE, handled.acquire()).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&before, &kept.picker.snapshot.load_full()));
    kept.send_change();
    kept.wait_shown().await;
    assert_eq!(2, kept.views(), "one for the snapshot and one for the change");
}
