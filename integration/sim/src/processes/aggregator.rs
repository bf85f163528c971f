//! Simulates an aggregator: its role in the pool, its lease, and the aggregators that it follows.

mod effects;
mod feeds;
mod follower_stream;
mod lease;
mod serving;
mod signals;

use std::collections::{BTreeMap, BTreeSet};

use signalbox_state::{
    ClaimResult, FollowerEvent, JournalBounds, OriginBindings, PollWant, Pool, PoolConfig, PoolInput,
    PoolRole, PoolRoleConfig, RoleEffect, RoleInput, RoleStatus,
};

use self::feeds::Feed;
use self::follower_stream::FollowerStream;
use crate::cluster::Cluster;
use crate::cluster::coordinator::{Reply, Request};
use crate::cluster::event::Timer;
use crate::cluster::message::{End, Payload};
use crate::counters::Counter;
use crate::plan::{Node, Refusal};
use crate::processes::aggregator_streams::AggregatorStreams;

/// How long a draining aggregator waits for the next owner.
const DRAIN_LINGER_MS: u64 = 500;

const TICK_MS: u64 = 50;
const HEARTBEAT_MS: u64 = 100;
const CHECK_STREAMS_MS: u64 = 500;

/// The longest trace line of an input, in characters.
const INPUT_CHARS: usize = 200;

/// An aggregator.
#[derive(Debug)]
pub(crate) struct Aggregator {
    node: Node,
    run: u32,
    pub(crate) role: PoolRole,
    /// The streams of followers.
    followers: BTreeMap<u64, FollowerStream>,
    /// The streams of collectors.
    collectors: BTreeSet<u64>,
    /// The streams on which replicas send feedback.
    feeds: BTreeMap<u64, Feed>,
    origins: OriginBindings,
    subscriptions: AggregatorStreams,
    lease: Option<u64>,
    /// The number of the last claim.
    claim: u64,
    is_claiming: bool,
    /// The latest revision of the coordinator's registry.
    revision: u64,
    are_frames_scheduled: bool,
    are_polls_waiting: bool,
    /// Whether the pool is to go on with what it left unfinished.
    is_continuing: bool,
    draining_since_ms: Option<u64>,
    /// How it refuses the streams of new followers, if it does.
    pub(crate) refusal: Option<Refusal>,
}

impl Aggregator {
    pub(crate) fn start(cluster: &mut Cluster, node: Node, run: u32) -> Self {
        let journal = JournalBounds {
            keep_bytes: cluster.plan.journal_bytes,
            keep_ms: 0,
            max_bytes: 4 * cluster.plan.journal_bytes,
        };
        let config = PoolRoleConfig {
            name: node.to_string(),
            pool_hash: cluster.plan.seed,
            pool: PoolConfig { journal, input_limits: cluster.plan.input_limits, ..PoolConfig::default() },
            takeover_wait_ms: 2_000,
            lease_ttl_ms: cluster.plan.lease_ttl_ms,
            failback_after_ms: cluster.plan.failback_after_ms,
        };
        let subscriptions = AggregatorStreams::new(node);
        subscriptions.start(cluster);
        cluster.set_timer(node, 0, Timer::Tick);
        cluster.set_timer(node, 10, Timer::Heartbeat);
        cluster.set_timer(node, 0, Timer::RenewLease);
        cluster.set_timer(node, CHECK_STREAMS_MS, Timer::CheckStreams);
        cluster.checker.record_spec((node, run), cluster.pods.keys());
        Self {
            node,
            run,
            role: PoolRole::new(config, cluster.pods.spec().into()),
            followers: BTreeMap::new(),
            collectors: BTreeSet::new(),
            feeds: BTreeMap::new(),
            origins: OriginBindings::new(PoolConfig::default().origin_ttl_ms),
            subscriptions,
            lease: None,
            claim: 0,
            is_claiming: false,
            revision: 0,
            are_frames_scheduled: false,
            are_polls_waiting: false,
            is_continuing: false,
            draining_since_ms: None,
            refusal: None,
        }
    }

    pub(crate) fn on_timer(&mut self, cluster: &mut Cluster, timer: Timer) {
        match timer {
            Timer::Tick => {
                self.role.record_waiting(cluster.waiting_ms(self.node));
                self.apply(cluster, RoleInput::Tick);
                cluster.checker.check_outranked((self.node, self.run), &self.role);
                self.finish_draining(cluster);
                cluster.set_timer(self.node, TICK_MS, Timer::Tick);
            }
            Timer::ReadSignal(epoch) => self.read_signal(cluster, epoch),
            Timer::Grant => self.apply(cluster, RoleInput::Pool(PoolInput::GrantDue)),
            Timer::GoOn => {
                self.is_continuing = false;
                self.apply(cluster, RoleInput::Pool(PoolInput::Continue));
            }
            Timer::Heartbeat => {
                self.send_heartbeats(cluster);
                self.send_replies_to_all(cluster);
                cluster.set_timer(self.node, HEARTBEAT_MS, Timer::Heartbeat);
            }
            Timer::SendFrames => {
                self.are_frames_scheduled = false;
                self.send_frames_to_all(cluster, PollWant::Changes);
            }
            Timer::WaitEnded(stream) => self.end_wait(cluster, stream),
            Timer::AnswerPolls => self.answer_polls(cluster),
            Timer::FollowerStreamEnded(stream) => self.end_follower_stream(cluster, stream),
            Timer::FollowerLeft(stream) => self.remove_follower(cluster, stream),
            Timer::Connect(at) => self.subscriptions.connect(cluster, at),
            Timer::CheckStreams => {
                for stream in cluster.unresponsive_streams(self.node) {
                    cluster.close(stream, End::Client);
                    self.subscription_closed(cluster, stream);
                }
                cluster.set_timer(self.node, CHECK_STREAMS_MS, Timer::CheckStreams);
            }
            Timer::RenewLease => {
                let next_ms = self.renew_lease(cluster);
                cluster.set_timer(self.node, next_ms, Timer::RenewLease);
            }
            Timer::ClaimDeadline(claim) if self.is_claiming && claim == self.claim => {
                self.is_claiming = false;
                self.apply(cluster, RoleInput::ClaimAnswered(ClaimResult::Unanswered));
            }
            _ => {}
        }
    }

    /// Reads the pool's current endpoints.
    pub(crate) fn update_endpoints(&mut self, cluster: &mut Cluster) {
        let spec = cluster.pods.spec();
        cluster.checker.record_spec((self.node, self.run), cluster.pods.keys());
        self.apply(cluster, RoleInput::Spec(spec.into()));
    }

    /// Starts a drain, as SIGTERM does.
    pub(crate) fn drain(&mut self, cluster: &mut Cluster) {
        self.draining_since_ms = Some(cluster.now_ms(self.node));
        self.apply(cluster, RoleInput::Drain);
    }

    fn finish_draining(&self, cluster: &mut Cluster) {
        let Some(since_ms) = self.draining_since_ms else { return };
        let now_ms = cluster.now_ms(self.node);
        let is_finished = self.subscriptions.is_empty()
            || self.role.sees_owner(now_ms)
            || now_ms >= since_ms + DRAIN_LINGER_MS;
        if is_finished {
            if let Some(lease) = self.lease {
                cluster.ask_coordinator(self.node, Request::Leave(lease));
            }
            cluster.set_timer(self.node, 0, Timer::Exit);
        }
    }

    pub(crate) fn on_coordinator_reply(&mut self, cluster: &mut Cluster, reply: Reply) {
        match reply {
            Reply::Registered(lease) => self.lease = Some(lease),
            Reply::LeaseLost(lease) => {
                self.lease.take_if(|own| *own == lease);
            }
            Reply::ClaimResult(claim, result) if self.is_claiming && claim == self.claim => {
                self.is_claiming = false;
                self.apply(cluster, RoleInput::ClaimAnswered(result));
            }
            Reply::ClaimResult(..) => {}
            Reply::Registry(registry) if registry.revision >= self.revision => {
                self.revision = registry.revision;
                self.apply(cluster, RoleInput::Candidates(registry.member_names()));
                self.apply(cluster, RoleInput::OwnerObserved(registry.owner_seen_by(self.node)));
            }
            Reply::Registry(_) => {}
        }
    }

    pub(crate) fn on_message(&mut self, cluster: &mut Cluster, stream: u64, end: End, payload: Payload) {
        match (end, payload) {
            (End::Client, Payload::Opened) => {
                self.subscriptions.mark_open(stream);
                self.apply(cluster, RoleInput::PeerEvent(stream, FollowerEvent::Connected));
            }
            (End::Client, Payload::FromAggregator(message)) => {
                self.subscriptions.record_message(stream);
                self.apply(cluster, RoleInput::PeerEvent(stream, FollowerEvent::Received(message)));
            }
            (End::Client, _) => {
                cluster.close(stream, End::Client);
                self.subscription_closed(cluster, stream);
            }
            (End::Server, payload) => self.serve(cluster, stream, payload),
        }
    }

    fn subscription_closed(&mut self, cluster: &mut Cluster, stream: u64) {
        if self.subscriptions.remove(cluster, stream) {
            self.apply(cluster, RoleInput::PeerEvent(stream, FollowerEvent::Disconnected));
        }
    }

    /// Returns the streams of followers.
    pub(crate) fn follower_streams(&self) -> Vec<u64> {
        self.followers.keys().copied().collect()
    }

    fn is_owner(&self) -> bool {
        matches!(self.role.status(), RoleStatus::Owner(_))
    }

    /// Applies an input to the role, checks the result, and returns the effects.
    fn apply_to_role(&mut self, cluster: &mut Cluster, input: RoleInput) -> Vec<RoleEffect> {
        let now_ms = cluster.now_ms(self.node);
        let before = self.role.pool().map(|pool| pool.journal().head());
        cluster.trace(|| {
            let text: String = format!("{input:?}").chars().take(INPUT_CHARS).collect();
            format!("{} applies {text}", self.node)
        });
        let was_outranked = self.role.is_outranked();
        let blocks = |pool: &Pool| pool.is_capturing().then(|| pool.pool_state().digest().placements);
        let captured = self.role.pool().and_then(blocks);
        let effects = self.role.handle(now_ms, input);
        if was_outranked && self.role.status() == RoleStatus::Standby {
            cluster.counters.increment(Counter::OutrankedStepDown);
        }
        if captured
            .is_some_and(|before| self.role.pool().and_then(blocks).is_some_and(|after| after != before))
        {
            cluster.counters.increment(Counter::ChangedDuringCapture);
        }
        let process = (self.node, self.run);
        cluster.checker.check_aggregator(&mut cluster.counters, process, &self.role, before);
        effects
    }

    /// Applies an input to the role and performs the effects.
    fn apply(&mut self, cluster: &mut Cluster, input: RoleInput) {
        for effect in self.apply_to_role(cluster, input) {
            self.perform(cluster, effect);
        }
    }
}
