//! Faults of single processes that must not disturb the others, and what they leave behind.

use signalbox_state::{Feedback, GaugeScope, Placement, PoolState, ScrapeStatus};
use signalbox_types::{BlockHash, EndpointKey, Incarnation};

use crate::cluster::message::{End, Payload};
use crate::counters::Counter;
use crate::invariants::Invariant;
use crate::plan::{FaultKind, Node, Refusal};
use crate::processes::Process;
use crate::processes::aggregator::Aggregator;
use crate::processes::replica::Replica;
use crate::world::World;

/// How long after the exit of a replica its load may stay, in microseconds: the origin TTL, twice because another owner
/// may have taken the pool over in the meantime, and some slack.
const LOAD_LEAVES_WITHIN_US: u64 = 7_500_000;

/// How long an endpoint may stay fresh that nobody scrapes any more, in microseconds.
const STALE_WITHIN_US: u64 = 3_000_000;

impl World {
    pub(super) fn replica_mut(&mut self, at: usize) -> Option<&mut Replica> {
        match self.processes.get_mut(&Node::Replica(at)) {
            Some(Process::Replica(replica)) => Some(replica),
            _ => None,
        }
    }

    pub(super) fn aggregator_mut(&mut self, at: usize) -> Option<&mut Aggregator> {
        match self.processes.get_mut(&Node::Aggregator(at)) {
            Some(Process::Aggregator(aggregator)) => Some(aggregator),
            _ => None,
        }
    }

    /// Lets an aggregator break the streams of its followers, and refuse those that they open.
    pub(super) fn refuse_followers(&mut self, at: usize, refusal: Refusal) {
        let Some(aggregator) = self.aggregator_mut(at) else { return };
        aggregator.refusal = Some(refusal);
        for stream in aggregator.follower_streams() {
            self.cluster.network.reset(&mut self.cluster.queue, stream);
        }
    }

    /// Lets a replica claim on its own stream that another one has no load and has placed everything.
    pub(super) fn impersonate(&mut self, at: usize, victim: usize) {
        let Some((stream, aggregator)) = self.replica_mut(at).and_then(|replica| replica.open_feed()) else {
            return;
        };
        let Some(origin) = self.replica_mut(victim).map(|replica| replica.origin) else { return };
        let owner = Node::Aggregator(aggregator);
        let Some(run) = self.cluster.runs.get(&owner).map(|run| run.number) else { return };
        // Otherwise the first one who names the origin gets it.
        if at == victim || !self.cluster.checker.is_bound((owner, run), origin) {
            return;
        }
        self.cluster.counters.increment(Counter::FeedbackForged);
        let endpoint = self.cluster.pods.key(0);
        let placement = Placement {
            number: u64::MAX,
            endpoint,
            incarnation: Incarnation(0),
            anchor: BlockHash::ROOT,
            suffix: [BlockHash(1)].into(),
        };
        let feedback =
            Feedback { placements: vec![placement], ..Feedback::new(origin, u64::MAX, GaugeScope::All) };
        self.cluster.send(stream, End::Server, Payload::Feedback(feedback));
    }

    /// Takes most of the KV caches while the feedback of a burst of requests is on its way.
    pub(super) fn lose_anchors(&mut self) {
        self.cluster.counters.increment(Counter::AnchorsLost);
        self.cluster.checker.allow_evictions();
        self.cluster.pods.set_shrunk(true);
        let accepts_requests = self.cluster.accepts_requests;
        for at in (0..self.cluster.plan.replicas).filter(|_| accepts_requests) {
            if let Some(Process::Replica(replica)) = self.processes.get_mut(&Node::Replica(at)) {
                replica.burst(&mut self.cluster);
            }
        }
    }

    pub(super) fn set_scraper_crashing(&mut self, collector: usize, pod: usize, is_crashing: bool) {
        let endpoint = self.cluster.pods.key(pod);
        if let Some(Process::Collector(collector)) = self.processes.get_mut(&Node::Collector(collector)) {
            collector.set_crashing(endpoint, is_crashing);
        }
    }

    /// Freezes a process that is being sent a snapshot.
    pub(super) fn freeze(&mut self, node: Node, run: u32) {
        if self.is_current_run(node, run) {
            self.cluster.counters.increment(Counter::FrozenInSnapshot);
            self.pause(node);
        }
    }

    /// Checks that nothing is left at the owner of replicas that are gone, and that endpoints that nobody scrapes are
    /// stale.
    pub(super) fn check_neighbours(&mut self, owner: Node) {
        let Some((_, role)) = self.roles().find(|(node, _)| *node == owner) else { return };
        let violation = self.left_load(role.pool_state()).or_else(|| self.unscraped_and_fresh());
        if let Some((invariant, observed)) = violation {
            self.cluster.checker.fail(invariant, || observed);
        }
    }

    fn left_load(&self, pool_state: &PoolState) -> Option<(Invariant, String)> {
        let harmless = |kind: &FaultKind| matches!(kind, FaultKind::GiveUp(_) | FaultKind::FailRequests(_));
        let quiet_us = self.cluster.undisturbed_us(harmless);
        let lease_ttl_us = self.cluster.plan.lease_ttl_ms * 1_000;
        if !self.cluster.is_reliable() || quiet_us < LOAD_LEAVES_WITHIN_US + lease_ttl_us {
            return None;
        }
        let mut gone = self.cluster.checker.origins_gone_for(LOAD_LEAVES_WITHIN_US);
        let left = gone.find(|origin| pool_state.loads().origins().any(|of| of == *origin));
        left.map(|origin| {
            (Invariant::GoneReplicasHoldNothing, format!("{origin} still has load, but its replica is gone"))
        })
    }

    /// Returns whether an aggregator or a replica takes an endpoint for fresh whose scraper has been crashing for long.
    fn unscraped_and_fresh(&self) -> Option<(Invariant, String)> {
        let quiet_us = self.cluster.undisturbed_us(FaultKind::is_harmless_to_streams);
        if !self.cluster.is_reliable() || quiet_us < 2 * STALE_WITHIN_US {
            return None;
        }
        let now_us = self.cluster.queue.now_us();
        let crashing = self.cluster.plan.faults.iter().filter_map(|fault| match fault.kind {
            FaultKind::CrashScraper(collector, pod)
                if now_us >= fault.at_ms * 1_000 + STALE_WITHIN_US
                    && now_us < (fault.at_ms + fault.for_ms) * 1_000 =>
            {
                Some((collector, self.cluster.pods.key(pod)))
            }
            _ => None,
        });
        let mut assigned = crashing.filter(|(collector, endpoint)| self.is_assigned(*collector, *endpoint));
        assigned.find_map(|(_, endpoint)| {
            let node = self.states().find(|(_, state)| is_fresh(state, endpoint)).map(|(node, _)| node)?;
            Some((
                Invariant::UnscrapedIsStale,
                format!("{endpoint} is fresh at {node}, but nobody scrapes it"),
            ))
        })
    }

    /// Returns whether a collector has been assigned an endpoint for long that it cannot scrape.
    fn is_assigned(&self, collector: usize, endpoint: EndpointKey) -> bool {
        match self.processes.get(&Node::Collector(collector)) {
            Some(Process::Collector(collector)) => {
                let since_us = self.cluster.queue.now_us().saturating_sub(STALE_WITHIN_US);
                collector.has_crashed_since(endpoint, since_us)
            }
            _ => false,
        }
    }

    /// Returns what each aggregator and each replica knows of the pool.
    pub(super) fn states(&self) -> impl Iterator<Item = (Node, &PoolState)> {
        let roles = self.roles().map(|(node, role)| (node, role.pool_state()));
        roles.chain(
            self.replicas()
                .map(|(node, replica)| (node, replica.follower.replica().state_replica().pool_state())),
        )
    }
}

/// Returns whether a pool takes an endpoint for fresh.
pub(super) fn is_fresh(pool_state: &PoolState, endpoint: EndpointKey) -> bool {
    let member = pool_state.endpoint(endpoint);
    member.is_some_and(|member| member.observed.scrape_status == ScrapeStatus::Fresh)
}
