//! What all requests of a replica share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use signalbox_extproc::Config;
use signalbox_schedule::Policy;
use signalbox_state::{Bookings, Overlay, PeerLoad, PlacedPrompt, RecentAdapterSends, ResponseReport, View};
use signalbox_types::{Ended, EndpointKey, Origin, ReplicaKey};
use tokio::sync::{Notify, mpsc};

use crate::config::EndpointScores;
use crate::decision_snapshot::DecisionSnapshot;
use crate::held::Held;
use crate::metrics::Metrics;
use crate::records::Records;

/// Placements that may wait for the uplink. Beyond it they are dropped and counted; bookings never are.
const PLACEMENTS_WAITING: usize = 1_024;

/// Remarks that may wait for the uplink. Beyond it they are dropped: none is missed.
const REMARKS_WAITING: usize = 1_024;

/// Ends of others' requests that may wait to be passed on. Beyond it they are dropped and counted: those bookings expire.
const ENDS_WAITING: usize = 4_096;

/// What the pool's owner is told once.
#[derive(Debug)]
pub(crate) enum Remark {
    /// What came of a request.
    Response(ResponseReport),
    /// A request for a LoRA adapter was sent to an endpoint.
    Adapter(EndpointKey, Arc<str>),
}

/// Where what the pool's owner is told comes out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) placed: mpsc::Receiver<PlacedPrompt>,
    pub(crate) remarks: mpsc::Receiver<Remark>,
}

/// What all requests of a replica share. Nothing here waits for another process, task or writer.
#[derive(Debug)]
pub(crate) struct Picker {
    pub(crate) snapshot: ArcSwap<DecisionSnapshot>,
    pub(crate) bookings: Bookings,
    pub(crate) held: Held,
    pub(crate) overlay: Overlay,
    pub(crate) placements: mpsc::Sender<PlacedPrompt>,
    pub(crate) adapter_sends: RecentAdapterSends,
    remarks: mpsc::Sender<Remark>,
    ends: mpsc::Sender<Ended>,
    /// This replica's name, short.
    pub(crate) replica: ReplicaKey,
    pub(crate) policy: Arc<Policy>,
    /// How many endpoints are named after the picked one.
    pub(crate) fallback_endpoints: usize,
    /// Whether a gateway is told how good each candidate was.
    pub(crate) scores: EndpointScores,
    /// What holds for all conversations, but for what the view says.
    conversations: Config,
    pub(crate) metrics: Metrics,
    pub(crate) records: Records,
    /// Rung when there is feedback to send.
    pub(crate) bell: Arc<Notify>,
    started: Instant,
    origin: AtomicU64,
    origin_ttl_ms: u64,
    /// The highest epoch that is known.
    epoch: AtomicU64,
    /// When an owner was last heard.
    owner_heard_at_ms: AtomicU64,
}

impl Picker {
    /// A replica that has seen nothing yet, and where what it has to tell the owner comes out, and what it has to tell other replicas.
    pub(crate) fn new(
        name: &str,
        policy: Policy,
        (conversations, fallback_endpoints, scores): (Config, usize, EndpointScores),
        origin_ttl: Duration,
        metrics: Metrics,
        records: Records,
    ) -> (Self, Outgoing, mpsc::Receiver<Ended>) {
        let bell = Arc::new(Notify::new());
        let ring = Arc::clone(&bell);
        let (placements, placed) = mpsc::channel(PLACEMENTS_WAITING);
        let (remarks, remarked) = mpsc::channel(REMARKS_WAITING);
        let (ends, ended) = mpsc::channel(ENDS_WAITING);
        let picker = Self {
            snapshot: ArcSwap::default(),
            bookings: Bookings::new(Arc::new(move || ring.notify_one())),
            held: Held::default(),
            overlay: Overlay::default(),
            placements,
            adapter_sends: RecentAdapterSends::default(),
            remarks,
            ends,
            replica: ReplicaKey::of(name),
            fallback_endpoints,
            scores,
            conversations: Config {
                headers: policy.request_headers().into_iter().map(str::to_owned).collect(),
                ..conversations
            },
            policy: Arc::new(policy),
            metrics,
            records,
            bell,
            started: Instant::now(),
            origin: AtomicU64::new(rand::random()),
            origin_ttl_ms: origin_ttl.as_millis() as u64,
            epoch: AtomicU64::new(0),
            owner_heard_at_ms: AtomicU64::new(0),
        };
        (picker, Outgoing { placed, remarks: remarked }, ended)
    }

    /// Milliseconds of this process's clock.
    pub(crate) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// What a conversation that begins now goes by.
    pub(crate) fn conversation(&self) -> Config {
        let snapshot = self.snapshot.load();
        Config {
            block_bytes: snapshot.view.format.block_bytes,
            models: Arc::clone(&snapshot.view.models),
            ..self.conversations.clone()
        }
    }

    /// Bytes of requests' bodies that are held.
    pub(crate) fn buffered_bytes(&self) -> u64 {
        self.conversations.buffers.held_bytes()
    }

    /// The highest epoch that is known.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// This is the highest epoch that is known now, and this is whether an owner of the pool is heard.
    pub(crate) fn owner_heard(&self, epoch: u64, is_heard: bool) {
        self.epoch.store(epoch, Ordering::Relaxed);
        if is_heard {
            self.owner_heard_at_ms.store(self.now_ms(), Ordering::Relaxed);
        }
    }

    /// Whether no owner of the pool was heard for so long that it is decided by what this replica alone knows.
    pub(crate) fn is_degraded(&self) -> bool {
        let heard_at_ms = self.owner_heard_at_ms.load(Ordering::Relaxed);
        self.now_ms().saturating_sub(heard_at_ms) >= self.origin_ttl_ms
    }

    /// Which life of this replica its feedback is from.
    pub(crate) fn origin(&self) -> Origin {
        Origin(self.origin.load(Ordering::Relaxed))
    }

    /// Takes a new origin: the pool gave the one before up.
    pub(crate) fn be_reborn(&self) {
        self.origin.store(rand::random(), Ordering::Relaxed);
    }

    /// Has the pool's owner told with the next batch.
    pub(crate) fn remark(&self, remark: Remark) {
        // Full: the uplink is not connected, or cannot keep up.
        let _ = self.remarks.try_send(remark);
    }

    /// Has the replica told that booked a request which ended.
    pub(crate) fn pass_on(&self, ended: Ended) {
        let is_on_its_way = self.ends.try_send(ended).is_ok();
        self.metrics.logged(if is_on_its_way { "passed_on" } else { "dropped" });
    }

    /// Whether what `view` says of other replicas' bookings still counts.
    pub(crate) fn others(&self, view: &View) -> PeerLoad {
        if view.age_ms(self.now_ms()) < self.origin_ttl_ms { PeerLoad::Current } else { PeerLoad::Outdated }
    }
}
