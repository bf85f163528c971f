//! The state that all requests for a pool share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use signalbox_admission::{FlowControl, LatestSaturation};
use signalbox_extproc::Config;
use signalbox_schedule::{FeedbackSink, Policy};
use signalbox_state::{
    Arrivals, Bookings, Overlay, PeerLoad, PlacedPrompt, RecentAdapterSends, RecentProbes, ResponseReport,
    UsageReport,
};
use signalbox_types::{EndpointKey, Origin, ReplicaKey, RequestEnd};
use tokio::sync::{Notify, mpsc};

use super::decision_snapshot::DecisionSnapshot;
use super::own_responses::OwnResponses;
use super::recorder::DecisionRecorder;
use crate::bookings::booking_numbers::pool_tag;
use crate::bookings::caching_reports::CachingReports;
use crate::bookings::detached_bookings::DetachedBookings;
use crate::bookings::unserved_bookings::UnservedBookings;
use crate::config::EndpointScores;
use crate::flow_control::Gate;
use crate::metrics::counters::Metrics;

/// Capacity of the queue of placements to the uplink. Further ones are dropped and counted; bookings never
/// are.
const PLACEMENT_QUEUE: usize = 1_024;

/// Capacity of the queue of feedback events to the uplink. Further ones are dropped; none of them is
/// essential.
const EVENT_QUEUE: usize = 1_024;

/// Capacity of the queue of request ends to other replicas. Further ones are dropped and counted; those
/// bookings expire.
const REQUEST_END_QUEUE: usize = 4_096;

/// Feedback that the pool's owner receives at most once.
#[derive(Debug)]
pub(crate) enum FeedbackEvent {
    /// The outcome of a request.
    Response(ResponseReport),
    /// The usage that an engine reported with a response.
    Usage(UsageReport),
    /// A request for a LoRA adapter was sent to an endpoint.
    AdapterUsed(EndpointKey, Arc<str>),
}

/// The receiving ends of the feedback queues.
#[derive(Debug)]
pub(crate) struct FeedbackReceivers {
    pub(crate) placements: mpsc::Receiver<PlacedPrompt>,
    pub(crate) events: mpsc::Receiver<FeedbackEvent>,
}

/// What the pickers of all pools of a replica share.
#[derive(Clone, Debug)]
pub(crate) struct PickerSettings {
    /// The replica's name, as a hash.
    pub(crate) replica: ReplicaKey,
    /// How endpoints are chosen.
    pub(crate) policy: Arc<Policy>,
    /// Which requests wait, and for how long.
    pub(crate) flow_control: FlowControl,
    /// Configuration of all conversations, without what depends on the policy or a view.
    pub(crate) conversations: Config,
    /// Number of fallback endpoints after the picked one in an answer.
    pub(crate) fallback_endpoints: usize,
    /// Whether answers carry the candidates' scores.
    pub(crate) scores: EndpointScores,
    /// How long other replicas' bookings count without a message from the owner.
    pub(crate) origin_ttl: Duration,
}

/// The state that all requests for a pool share. No access to it waits for another process, task or writer.
#[derive(Debug)]
pub(crate) struct Picker {
    pub(crate) snapshot: ArcSwap<DecisionSnapshot>,
    pub(crate) bookings: Bookings,
    pub(crate) detached: DetachedBookings,
    pub(crate) overlay: Overlay,
    pub(crate) placements: mpsc::Sender<PlacedPrompt>,
    pub(crate) adapter_sends: RecentAdapterSends,
    pub(crate) caching_reports: CachingReports,
    pub(crate) probes: RecentProbes,
    pub(super) own_responses: OwnResponses,
    pub(crate) unserved: UnservedBookings,
    events: mpsc::Sender<FeedbackEvent>,
    request_ends: mpsc::Sender<RequestEnd>,
    /// This replica's name, as a hash.
    pub(crate) replica: ReplicaKey,
    pub(crate) policy: Arc<Policy>,
    /// Where requests wait while the pool is full.
    pub(crate) gate: Arc<Gate>,
    pub(super) saturation: LatestSaturation,
    /// What has arrived since this picker was created.
    pub(crate) arrivals: Arrivals,
    /// Number of fallback endpoints after the picked one in an answer.
    pub(crate) fallback_endpoints: usize,
    /// Whether answers carry the candidates' scores.
    pub(crate) scores: EndpointScores,
    /// Configuration of all conversations, without what depends on the view.
    conversations: Config,
    pub(crate) metrics: Metrics,
    pub(crate) recorder: DecisionRecorder,
    /// Notified when there is feedback to send.
    pub(crate) feedback_ready: Arc<Notify>,
    started: Instant,
    origin: AtomicU64,
    origin_ttl_ms: u64,
    /// The highest known epoch.
    epoch: AtomicU64,
    /// When this replica was last in contact with an owner, on this process's clock.
    last_owner_message_ms: AtomicU64,
    /// When the owner last extended or confirmed the state that the view shows, on this process's clock.
    view_confirmed_at_ms: AtomicU64,
    /// Since when the uplink has had no stream to an owner, on this process's clock; [`u64::MAX`] while it has one.
    pub(super) uplink_lost_at_ms: AtomicU64,
}

impl Picker {
    /// Returns a picker with an empty view, the receivers of feedback for the owner, and the receiver of
    /// request ends for other replicas. `pool` is the pool's name, if it is known.
    pub(crate) fn new(
        settings: PickerSettings,
        pool: Option<&str>,
        metrics: Metrics,
        recorder: DecisionRecorder,
    ) -> (Self, FeedbackReceivers, mpsc::Receiver<RequestEnd>) {
        let PickerSettings {
            replica,
            policy,
            flow_control,
            conversations,
            fallback_endpoints,
            scores,
            origin_ttl,
        } = settings;
        let feedback_ready = Arc::new(Notify::new());
        let on_booking = Arc::clone(&feedback_ready);
        let gate = Gate::new(flow_control, conversations.retry_after_s, Arc::clone(&feedback_ready));
        let (placements, placement_receiver) = mpsc::channel(PLACEMENT_QUEUE);
        let (events, event_receiver) = mpsc::channel(EVENT_QUEUE);
        let (request_ends, request_end_receiver) = mpsc::channel(REQUEST_END_QUEUE);
        let picker = Self {
            snapshot: ArcSwap::default(),
            bookings: Bookings::new(Arc::new(move || on_booking.notify_one())),
            detached: DetachedBookings::new(pool.map(pool_tag).unwrap_or_default()),
            overlay: Overlay::default(),
            placements,
            adapter_sends: RecentAdapterSends::default(),
            caching_reports: CachingReports::default(),
            probes: RecentProbes::default(),
            own_responses: OwnResponses::default(),
            unserved: UnservedBookings::default(),
            events,
            request_ends,
            replica,
            gate: Arc::new(gate),
            saturation: LatestSaturation::default(),
            arrivals: Arrivals::default(),
            fallback_endpoints,
            scores,
            conversations: Config {
                session_token_header: policy.session_header().map(Arc::from),
                decision_headers: policy.request_headers().into_iter().map(str::to_owned).collect(),
                ..conversations
            },
            policy,
            metrics,
            recorder,
            feedback_ready,
            started: Instant::now(),
            origin: AtomicU64::new(rand::random()),
            origin_ttl_ms: origin_ttl.as_millis() as u64,
            epoch: AtomicU64::new(0),
            last_owner_message_ms: AtomicU64::new(0),
            view_confirmed_at_ms: AtomicU64::new(0),
            uplink_lost_at_ms: AtomicU64::new(u64::MAX),
        };
        let receivers = FeedbackReceivers { placements: placement_receiver, events: event_receiver };
        (picker, receivers, request_end_receiver)
    }

    /// Returns the milliseconds since this picker was created: the process's clock.
    pub(crate) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Returns the configuration of a conversation that starts now.
    pub(crate) fn conversation_config(&self) -> Config {
        let snapshot = self.snapshot.load();
        Config {
            block_bytes: snapshot.view.format.block_bytes,
            models: Arc::clone(&snapshot.view.models),
            served_models: snapshot.view.served_models(),
            ..self.conversations.clone()
        }
    }

    /// Returns the highest known epoch.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Records the highest known epoch and, if `has_owner`, that this replica is in contact with an owner now.
    pub(crate) fn record_owner_contact(&self, epoch: u64, has_owner: bool) {
        self.epoch.store(epoch, Ordering::Relaxed);
        if has_owner {
            self.last_owner_message_ms.store(self.now_ms(), Ordering::Relaxed);
        }
    }

    /// Returns whether this replica has heard from no owner for the origin TTL, so that decisions use only its
    /// own bookings.
    pub(crate) fn is_degraded(&self) -> bool {
        let last_message_ms = self.last_owner_message_ms.load(Ordering::Relaxed);
        self.now_ms().saturating_sub(last_message_ms) >= self.origin_ttl_ms
    }

    /// Returns the origin of this replica's feedback.
    pub(crate) fn origin(&self) -> Origin {
        Origin(self.origin.load(Ordering::Relaxed))
    }

    /// Takes a new origin because the pool dropped the previous one.
    pub(crate) fn renew_origin(&self) {
        self.origin.store(rand::random(), Ordering::Relaxed);
    }

    /// Queues an event for the next feedback batch.
    pub(crate) fn report(&self, event: FeedbackEvent) {
        // The queue is full if the uplink is disconnected or cannot keep up.
        let _ = self.events.try_send(event);
    }

    /// Queues a request end for the replica that booked the request.
    pub(crate) fn relay_request_end(&self, end: RequestEnd) {
        let is_queued = self.request_ends.try_send(end).is_ok();
        self.metrics.access_log_entries.count(if is_queued { "relayed" } else { "dropped" });
    }

    /// Frees what a pool that is gone leaves behind. Requests that are still open keep the picker itself.
    pub(crate) fn clear(&self) {
        self.gate.close();
        self.snapshot.store(Arc::default());
        self.overlay.clear();
        self.detached.clear();
        self.recorder.ring().clear();
    }

    /// Records that the owner extended or confirmed the state that the view shows. This is no part of the view, so that
    /// a heartbeat replaces nothing.
    pub(crate) fn record_view_confirmation(&self) {
        self.view_confirmed_at_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Returns the milliseconds since the owner last extended or confirmed the state that the view shows.
    pub(crate) fn view_age_ms(&self) -> u64 {
        self.now_ms().saturating_sub(self.view_confirmed_at_ms.load(Ordering::Relaxed))
    }

    /// Returns whether other replicas' bookings in the view still count.
    pub(crate) fn peer_load(&self) -> PeerLoad {
        if self.view_age_ms() < self.origin_ttl_ms { PeerLoad::Current } else { PeerLoad::Outdated }
    }
}

/// The queues to the uplink.
impl FeedbackSink for &Picker {
    fn queue_placement(&mut self, placed: PlacedPrompt) -> Result<(), PlacedPrompt> {
        self.placements.try_send(placed).map_err(|full| {
            self.metrics.placements_dropped.inc();
            full.into_inner()
        })
    }

    fn report_response(&mut self, report: ResponseReport) {
        self.report(FeedbackEvent::Response(report));
    }

    fn report_adapter_use(&mut self, endpoint: EndpointKey, adapter: &Arc<str>) {
        self.report(FeedbackEvent::AdapterUsed(endpoint, Arc::clone(adapter)));
    }
}
