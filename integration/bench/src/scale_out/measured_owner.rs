//! The owner of the pool's state, whose work is measured.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use prost::Message;
use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{
    CatchUp, CollectorStream, Feedback, FeedbackRest, FlowReport, Frame, GaugeScope, Placement, Pool,
    PoolConfig, PoolEffect, PoolInput, Report, Update,
};
use signalbox_types::{BlockHash, EndpointKey, Generation, Incarnation, Origin, Version};

use super::shape::STEP_MS;
use super::stopwatch::Stopwatch;
use crate::sim::pool_spec;

/// The collectors' streams: as many as the Helm chart starts.
const COLLECTORS: [CollectorStream; 2] = [CollectorStream(1), CollectorStream(2)];

/// The maximum number of reports in one message, as collectors send them.
const MAX_REPORTS_PER_MESSAGE: usize = 1_000;

/// The origin of the placements that fill the caches before traffic starts.
const EARLIER: Origin = Origin(u64::MAX);

/// The owner, with the time that it spends.
pub(super) struct MeasuredOwner {
    pub(super) pool: Pool,
    /// The endpoints, ordered by key.
    endpoints: Arc<[EndpointKey]>,
    assigned: BTreeMap<EndpointKey, (CollectorStream, Generation)>,
    /// Reports that the collectors have not sent.
    pending: BTreeMap<CollectorStream, Vec<Report>>,
    placements: u64,
    /// The version that all followers have.
    sent: Version,
    /// The version at each of the last steps.
    steps: VecDeque<Version>,
    /// Whether the pool has left work unfinished.
    is_unfinished: bool,
    /// What is left of the last batch of feedback.
    left: Option<FeedbackRest>,
    /// Folds of the endpoints that the pool begins with.
    pub(super) specs: Stopwatch,
    pub(super) feedback: Stopwatch,
    pub(super) reports: Stopwatch,
    /// Folds of ticks, and of what any input left unfinished.
    pub(super) ticks: Stopwatch,
    /// Reading the history for one follower.
    pub(super) history: Stopwatch,
    /// Decoding the messages of collectors.
    pub(super) decoding_reports: Stopwatch,
}

impl MeasuredOwner {
    /// Creates the owner of a pool with so many endpoints, none of which was scraped.
    pub(super) fn new(endpoints: usize, config: PoolConfig) -> Self {
        let pool = Pool::new(1, config);
        let mut owner = Self {
            sent: pool.journal().head(),
            pool,
            endpoints: Arc::default(),
            assigned: BTreeMap::new(),
            pending: BTreeMap::new(),
            placements: 0,
            steps: VecDeque::new(),
            is_unfinished: false,
            left: None,
            specs: Stopwatch::default(),
            feedback: Stopwatch::default(),
            reports: Stopwatch::default(),
            ticks: Stopwatch::default(),
            history: Stopwatch::default(),
            decoding_reports: Stopwatch::default(),
        };
        owner.add_endpoints(endpoints);
        // The pool is assessed for autoscalers once it is known what an earlier owner has stored.
        owner.pool.handle(0, PoolInput::StoredSignal(None));
        owner
    }

    fn add_endpoints(&mut self, endpoints: usize) {
        let joins =
            COLLECTORS.map(|stream| PoolInput::CollectorJoined(stream, format!("collector-{}", stream.0)));
        for input in joins.into_iter().chain([PoolInput::Spec(pool_spec(endpoints).into())]) {
            let effects = self.specs.time(|| self.pool.handle(0, input));
            self.perform(effects);
        }
        self.finish(0);
        self.endpoints = self.assigned.keys().copied().collect();
    }

    /// Performs effects. Returns the placements whose whole chains the pool needs.
    fn perform(&mut self, effects: Vec<PoolEffect>) -> Vec<u64> {
        let mut needed = Vec::new();
        for effect in effects {
            match effect {
                PoolEffect::Assign(stream, all) => {
                    self.assigned.extend(all.iter().map(|one| (one.endpoint, (stream, one.generation))));
                }
                PoolEffect::NeedChain(_, number) => needed.push(number),
                PoolEffect::Unfinished => self.is_unfinished = true,
                PoolEffect::FeedbackLeft(rest) => self.left = Some(rest),
                PoolEffect::Expired(origin) => {
                    panic!("origin {origin} expired although its replica sent feedback")
                }
                PoolEffect::Published(_)
                | PoolEffect::CloseCollector(_)
                | PoolEffect::GrantAfter(_)
                | PoolEffect::StoreSignal(_)
                | PoolEffect::Count(_) => {}
            }
        }
        needed
    }

    /// Returns the endpoints, ordered by key.
    pub(super) fn endpoints(&self) -> Arc<[EndpointKey]> {
        Arc::clone(&self.endpoints)
    }

    /// Returns the incarnation of each endpoint, ordered by key.
    pub(super) fn incarnations(&self) -> Arc<[Incarnation]> {
        self.pool.pool_state().endpoints().map(|member| member.observed.incarnation).collect()
    }

    /// Handles placements of whole chains at endpoints, by their position, in one batch.
    pub(super) fn place(&mut self, chains: impl Iterator<Item = (usize, Arc<[BlockHash]>)>) {
        let first = self.placements + 1;
        let placements: Vec<_> = (first..)
            .zip(chains)
            .map(|(number, (position, suffix))| Placement {
                number,
                endpoint: self.endpoints[position],
                incarnation: Incarnation::default(),
                anchor: BlockHash::ROOT,
                suffix,
            })
            .collect();
        self.placements += placements.len() as u64;
        let feedback = Feedback {
            epoch: 1,
            origin: EARLIER,
            seq: self.placements,
            scope: GaugeScope::Changed,
            gauges: Vec::new(),
            placements,
            adapters: Vec::new(),
            responses: Vec::new(),
            usage: Vec::new(),
            flows: FlowReport::default(),
            arrivals: None,
        };
        self.handle_feedback(0, feedback);
    }

    /// Handles feedback. Returns the placements whose whole chains it needs.
    pub(super) fn handle_feedback(&mut self, now_ms: u64, feedback: Feedback) -> Vec<u64> {
        let effects = self.feedback.time(|| self.pool.handle(now_ms, PoolInput::Feedback(feedback)));
        let mut needed = self.perform(effects);
        while let Some(rest) = self.left.take() {
            let effects = self.feedback.time(|| self.pool.handle(now_ms, PoolInput::FeedbackRest(rest)));
            needed.extend(self.perform(effects));
        }
        needed
    }

    /// Queues what the collectors have to report, by the position of the endpoint.
    pub(super) fn queue_reports(&mut self, updates: impl Iterator<Item = (usize, Update)>) {
        for (position, update) in updates {
            let endpoint = self.endpoints[position];
            let (stream, generation) = self.assigned[&endpoint];
            let report = Report { endpoint, generation, age_ms: 0, update };
            self.pending.entry(stream).or_default().push(report);
        }
    }

    /// Handles the messages of the collectors with what is queued.
    pub(super) fn handle_reports(&mut self, now_ms: u64) {
        for (stream, reports) in std::mem::take(&mut self.pending) {
            for reports in reports.chunks(MAX_REPORTS_PER_MESSAGE) {
                let message = signalbox_wire::encode_reports(None, 1, "collector", reports.to_vec());
                let bytes = message.encode_to_vec();
                let decoded = self.decoding_reports.time(|| {
                    let message =
                        pb::CollectorMessage::decode(&*bytes).expect("the message was just encoded");
                    signalbox_wire::decode_reports(message).expect("the message was just encoded")
                });
                self.handle_report(now_ms, PoolInput::Reports(stream, decoded));
            }
        }
    }

    /// Shows that the collectors are alive.
    pub(super) fn hear_collectors(&mut self, now_ms: u64) {
        for stream in COLLECTORS {
            self.handle_report(now_ms, PoolInput::Reports(stream, Vec::new()));
        }
    }

    fn handle_report(&mut self, now_ms: u64, input: PoolInput) {
        let effects = self.reports.time(|| self.pool.handle(now_ms, input));
        self.perform(effects);
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now_ms: u64) {
        let effects = self.ticks.time(|| self.pool.handle(now_ms, PoolInput::Tick));
        self.perform(effects);
    }

    /// Goes on with what was left unfinished. Other inputs could be handled in between.
    pub(super) fn finish(&mut self, now_ms: u64) {
        while std::mem::take(&mut self.is_unfinished) {
            let effects = self.ticks.time(|| self.pool.handle(now_ms, PoolInput::Continue));
            self.perform(effects);
        }
    }

    /// Returns the frames since the last call, as each follower reads them.
    pub(super) fn new_frames(&mut self) -> Vec<Frame> {
        let (pool, mut sent, mut frames) = (&self.pool, self.sent, Vec::new());
        self.history.time(|| {
            while let CatchUp::Frame(frame) = pool.journal().since(sent) {
                sent = frame.ends_at().unwrap_or(sent);
                frames.push(frame);
            }
        });
        self.sent = sent;
        self.steps.push_back(sent);
        frames
    }

    /// Skips the frames until now, because all followers receive a snapshot.
    pub(super) fn skip_frames(&mut self) {
        self.sent = self.pool.journal().head();
    }

    /// Returns how far back the history reaches, in milliseconds.
    pub(super) fn history_ms(&self) -> u64 {
        let kept = self.steps.iter().rev().take_while(|version| self.pool.journal().covers(**version));
        kept.count() as u64 * STEP_MS
    }

    /// Forgets what was measured so far.
    pub(super) fn reset(&mut self) {
        let stopwatches = [&mut self.feedback, &mut self.reports, &mut self.ticks, &mut self.history];
        stopwatches.into_iter().for_each(|stopwatch| *stopwatch = Stopwatch::default());
        self.decoding_reports = Stopwatch::default();
    }
}
