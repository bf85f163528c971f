//! Runs a pool in virtual time and measures the CPU time of each part.

use std::sync::Arc;

use prost::Message;
use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{Change, Frame, PoolConfig};

use super::costs::{Costs, SnapshotCosts};
use super::measured_owner::MeasuredOwner;
use super::measured_replica::MeasuredReplica;
use super::memory::Memory;
use super::prompts::{Conversations, unshared};
use super::rare_folds::{self, RareFolds};
use super::shape::{KV_BLOCKS, SCRAPED_MS, START_MS, STEP_MS, Shape};
use super::stopwatch::Stopwatch;
use super::traffic::Traffic;
use crate::sim::pool_spec;

/// Virtual time before the measurement: more than a request takes.
const WARM_UP_MS: u64 = 2_500;

/// Intervals of what happens regularly, in milliseconds.
const REPORTS_MS: u64 = 5;
const TICK_MS: u64 = 100;
const HEARTBEAT_MS: u64 = 100;

/// Blocks of each prompt that filled the caches before traffic starts, and the number of placements in a batch.
const EARLIER_BLOCKS: u64 = 32;
const EARLIER_BATCH: usize = 256;

/// The numbers of these prompts, apart from those of turns.
const EARLIER_NUMBERS: u64 = 1 << 40;

struct Simulation {
    shape: Shape,
    owner: MeasuredOwner,
    replica: MeasuredReplica,
    traffic: Traffic,
    /// Work of all replicas for their feedback.
    feeding: Stopwatch,
    decoding_feedback: Stopwatch,
    bytes_of_feedback: u64,
    requested_chains: u64,
    /// Placements that the replicas sent, whole chains included, and those that the owner made changes of.
    placements: u64,
    placed: u64,
}

/// Measures a pool of this shape for so many virtual seconds.
pub(super) fn run(shape: Shape, seconds: u64) -> Costs {
    let (mut simulation, snapshot) = Simulation::start(shape);
    let steps = |from_ms: u64, to_ms: u64| (from_ms..to_ms).step_by(STEP_MS as usize);
    let measured_from_ms = START_MS + WARM_UP_MS;
    steps(START_MS, measured_from_ms).for_each(|now_ms| simulation.step(now_ms));
    simulation.reset();
    let head = simulation.owner.pool.journal().head().seq;
    let end_ms = measured_from_ms + seconds * 1_000;
    steps(measured_from_ms, end_ms).for_each(|now_ms| simulation.step(now_ms));
    simulation.costs(seconds as f64, head, snapshot, end_ms)
}

impl Simulation {
    /// Fills the caches and lets the measured replica follow.
    fn start(shape: Shape) -> (Self, SnapshotCosts) {
        let mut owner = MeasuredOwner::new(shape.endpoints, PoolConfig::default());
        let conversations = Conversations::new(shape);
        fill_caches(&mut owner, shape, &conversations);
        let mut traffic = Traffic::new(shape, owner.endpoints(), conversations);
        owner.queue_reports(traffic.servers.scrape_all());
        owner.handle_reports(SCRAPED_MS);
        traffic.incarnations = owner.incarnations();
        owner.hear_collectors(START_MS);
        owner.tick(START_MS);
        owner.finish(START_MS);
        let (mut replica, mut capturing) = (MeasuredReplica::new(), Stopwatch::default());
        let snapshot = loop {
            if let Some(snapshot) = capturing.time(|| owner.pool.request_snapshot(START_MS, None)) {
                break snapshot;
            }
        };
        // It is not kept for another follower.
        owner.pool.expire_snapshots(u64::MAX);
        replica.receive_snapshot(START_MS, snapshot, &traffic.replicas[0].bookings);
        owner.skip_frames();
        let costs = SnapshotCosts::new(&owner, &replica, &capturing);
        let (feeding, decoding_feedback) = (Stopwatch::default(), Stopwatch::default());
        let simulation = Self {
            shape,
            owner,
            replica,
            traffic,
            feeding,
            decoding_feedback,
            bytes_of_feedback: 0,
            requested_chains: 0,
            placements: 0,
            placed: 0,
        };
        (simulation, costs)
    }

    fn step(&mut self, now_ms: u64) {
        self.traffic.advance(now_ms);
        self.owner.queue_reports(self.traffic.servers.scrape(now_ms));
        for number in 0..self.shape.replicas {
            self.send_feedback(now_ms, number);
        }
        if now_ms.is_multiple_of(REPORTS_MS) {
            self.owner.handle_reports(now_ms);
        }
        if now_ms.is_multiple_of(TICK_MS) {
            self.owner.hear_collectors(now_ms);
            self.owner.tick(now_ms);
        }
        self.owner.finish(now_ms);
        let mut frames = self.owner.new_frames();
        self.placed += frames.iter().map(placed_in).sum::<u64>();
        if now_ms.is_multiple_of(HEARTBEAT_MS) {
            let (head, digest) = (self.owner.pool.journal().head(), self.owner.pool.pool_state().digest());
            frames.push(Frame::Heartbeat { epoch: head.epoch, seq: head.seq, now_ms, digest });
        }
        self.replica.receive(now_ms, &frames, &self.traffic.replicas[0].bookings);
    }

    fn send_feedback(&mut self, now_ms: u64, number: usize) {
        let replica = &mut self.traffic.replicas[number];
        let acknowledged = self.owner.pool.pool_state().acknowledged(replica.origin);
        let encoded = self.feeding.time(|| {
            let feedback = replica.feedback(now_ms, acknowledged)?;
            Some(signalbox_wire::encode_feedback(None, feedback).encode_to_vec())
        });
        let Some(bytes) = encoded else { return };
        self.bytes_of_feedback += bytes.len() as u64;
        let feedback = self.decoding_feedback.time(|| {
            let message = pb::FeedbackBatch::decode(&*bytes).expect("the batch was just encoded");
            signalbox_wire::decode_feedback(message).expect("the batch was just encoded")
        });
        self.placements += feedback.placements.len() as u64;
        for placement in self.owner.handle_feedback(now_ms, feedback) {
            self.requested_chains += 1;
            replica.queue_whole_chain(placement);
        }
    }

    /// Forgets what was measured so far.
    fn reset(&mut self) {
        self.owner.reset();
        self.replica.reset();
        self.traffic.booking = Stopwatch::default();
        (self.feeding, self.decoding_feedback) = (Stopwatch::default(), Stopwatch::default());
        (self.bytes_of_feedback, self.requested_chains) = (0, 0);
        (self.placements, self.placed) = (0, 0);
    }

    fn costs(self, seconds: f64, head: u64, snapshot: SnapshotCosts, end_ms: u64) -> Costs {
        let Self { owner, replica, traffic, .. } = &self;
        let share = |spent: &Stopwatch| spent.total.as_secs_f64() / seconds;
        let replicas = self.shape.replicas as f64;
        // The owner drops placements that it cannot use, and then nothing of them is measured.
        assert_eq!(
            self.placements,
            self.placed + self.requested_chains,
            "of the placements sent, all those whose whole chain was not requested must be in the pool's history"
        );
        Costs {
            feedback: share(&owner.feedback),
            reports: share(&owner.reports),
            ticks: share(&owner.ticks),
            decoding_at_owner: share(&self.decoding_feedback) + share(&owner.decoding_reports),
            encoding_first: share(&replica.encoding),
            encoding_others: (share(&replica.encoding_again) + share(&owner.history)) * (replicas - 1.0),
            decoding: share(&replica.decoding),
            applying: share(&replica.applying),
            viewing: share(&replica.viewing),
            booking: share(&traffic.booking) / replicas,
            feeding: share(&self.feeding) / replicas,
            bytes_to_replica: replica.bytes as f64 / seconds,
            bytes_from_replica: self.bytes_of_feedback as f64 / seconds / replicas,
            frames_per_second: replica.frames as f64 / seconds,
            placements_per_second: self.placed as f64 / seconds,
            changes_per_second: (owner.pool.journal().head().seq - head) as f64 / seconds,
            requested_chains_per_second: self.requested_chains as f64 / seconds,
            history_ms: owner.history_ms(),
            longest_ms: [&owner.feedback, &owner.reports, &owner.ticks].map(Stopwatch::longest_ms),
            memory: Memory::now(),
            snapshot,
            rare: self.rare_folds(end_ms),
        }
    }

    fn rare_folds(self, now_ms: u64) -> RareFolds {
        let spec = pool_spec(self.shape.endpoints).into();
        rare_folds::measure(self.owner.pool, spec, now_ms)
    }
}

/// Returns the number of placements in a frame.
fn placed_in(frame: &Frame) -> u64 {
    let Frame::Delta { changes, .. } = frame else { return 0 };
    changes.iter().filter(|change| matches!(change, Change::Placed { .. })).count() as u64
}

/// Fills the caches with prompts of earlier times, and then with the conversations that are going on.
fn fill_caches(owner: &mut MeasuredOwner, shape: Shape, conversations: &Conversations) {
    let earlier = (0..KV_BLOCKS / EARLIER_BLOCKS).flat_map(|_| 0..shape.endpoints);
    let earlier = (EARLIER_NUMBERS..).zip(earlier);
    let earlier =
        earlier.map(|(number, position)| (position, unshared(number, EARLIER_BLOCKS).collect::<Arc<[_]>>()));
    let latest = conversations.latest_turns().map(|(position, chain)| (position, Arc::clone(chain)));
    let mut chains = earlier.chain(latest).peekable();
    while chains.peek().is_some() {
        owner.place(chains.by_ref().take(EARLIER_BATCH));
    }
}
