//! The shell of an aggregator: a seat, its lease, and the streams that it serves.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_state::{
    ClaimResult, CollectorStream, FollowerEvent, FollowerPoll, FromAggregator, FromFollower, JournalBounds,
    PollReply, PollWant, PoolConfig, PoolEffect, PoolInput, PoolRole, PoolRoleConfig, RoleEffect, RoleInput,
    RoleStatus,
};
use signalbox_types::Version;

use crate::coordinator::{Answer, LEASE_TTL_US, Request};
use crate::counters::Happening;
use crate::network::{End, Kind, Payload};
use crate::peers::Peers;
use crate::plan::Node;
use crate::queue::Timer;
use crate::site::Site;

/// Messages that may be on their way to a follower.
const WINDOW: usize = 64;

/// How long one that ends waits for the next owner.
const LINGER_MS: u64 = 500;

/// A claim that the coordinator does not answer is given up after so long.
const CLAIM_DEADLINE_MS: u64 = 2_000;

/// An aggregator.
#[derive(Debug)]
pub(crate) struct Aggregator {
    node: Node,
    life: u32,
    pub(crate) role: PoolRole,
    followers: BTreeMap<u64, Version>,
    collectors: BTreeSet<u64>,
    feeds: BTreeSet<u64>,
    peers: Peers,
    lease: Option<u64>,
    claim: u64,
    is_claiming: bool,
    revision: u64,
    is_pump_due: bool,
    drains_since_ms: Option<u64>,
}

impl Aggregator {
    pub(crate) fn start(site: &mut Site, node: Node, life: u32) -> Self {
        let journal = JournalBounds {
            keep_bytes: site.plan.journal_bytes,
            keep_pinned_bytes: 4 * site.plan.journal_bytes,
        };
        let config = PoolRoleConfig {
            name: node.to_string(),
            pool_hash: site.plan.seed,
            pool: PoolConfig { journal, ..PoolConfig::default() },
            inherit_within_ms: 2_000,
            give_back_after_ms: site.plan.give_back_after_ms,
        };
        let peers = Peers::new(node);
        peers.start(site);
        site.timer(node, 0, Timer::Tick);
        site.timer(node, 10, Timer::Beat);
        site.timer(node, 0, Timer::KeepLease);
        site.timer(node, 500, Timer::Watch);
        Self {
            node,
            life,
            role: PoolRole::new(config, site.pods.spec()),
            followers: BTreeMap::new(),
            collectors: BTreeSet::new(),
            feeds: BTreeSet::new(),
            peers,
            lease: None,
            claim: 0,
            is_claiming: false,
            revision: 0,
            is_pump_due: false,
            drains_since_ms: None,
        }
    }

    pub(crate) fn timer(&mut self, site: &mut Site, timer: Timer) {
        match timer {
            Timer::Tick => {
                self.fold(site, RoleInput::Tick);
                self.finish_draining(site);
                site.timer(self.node, 50, Timer::Tick);
            }
            Timer::Beat => {
                self.pump_all(site, PollWant::ChangesAndBeat);
                site.timer(self.node, 100, Timer::Beat);
            }
            Timer::Pump => {
                self.is_pump_due = false;
                self.pump_all(site, PollWant::Changes);
            }
            Timer::Connect(at) => self.peers.connect(site, at),
            Timer::Watch => {
                for stream in site.out_of_contact(self.node) {
                    site.close(stream, End::Client);
                    self.left(site, stream);
                }
                site.timer(self.node, 500, Timer::Watch);
            }
            Timer::KeepLease => {
                let request = self.lease.map_or(Request::Register, Request::KeepAlive);
                site.ask(self.node, request);
                site.ask(self.node, Request::Look);
                let next_ms = if self.lease.is_some() { LEASE_TTL_US / 3_000 } else { 200 };
                site.timer(self.node, next_ms, Timer::KeepLease);
            }
            Timer::ClaimDeadline(claim) if self.is_claiming && claim == self.claim => {
                self.is_claiming = false;
                self.fold(site, RoleInput::ClaimResult(ClaimResult::Unanswered));
            }
            _ => {}
        }
    }

    pub(crate) fn specified(&mut self, site: &mut Site) {
        let spec = site.pods.spec();
        self.fold(site, RoleInput::Spec(spec));
    }

    pub(crate) fn drain(&mut self, site: &mut Site) {
        self.drains_since_ms = Some(site.now_ms(self.node));
        self.fold(site, RoleInput::Drain);
    }

    fn finish_draining(&self, site: &mut Site) {
        let Some(since_ms) = self.drains_since_ms else { return };
        let now_ms = site.now_ms(self.node);
        if self.peers.is_empty() || self.role.hears_owner(now_ms) || now_ms >= since_ms + LINGER_MS {
            if let Some(lease) = self.lease {
                site.ask(self.node, Request::Leave(lease));
            }
            site.timer(self.node, 0, Timer::Exit);
        }
    }

    pub(crate) fn answered(&mut self, site: &mut Site, answer: Answer) {
        match answer {
            Answer::Registered(lease) => self.lease = Some(lease),
            Answer::LeaseLost(lease) => {
                self.lease.take_if(|own| *own == lease);
            }
            Answer::ClaimResult(claim, claimed) if self.is_claiming && claim == self.claim => {
                self.is_claiming = false;
                self.fold(site, RoleInput::ClaimResult(claimed));
            }
            Answer::ClaimResult(..) => {}
            Answer::Noticed(notice) if notice.revision >= self.revision => {
                self.revision = notice.revision;
                self.fold(site, RoleInput::Candidates(notice.names()));
                self.fold(site, RoleInput::ObservedOwner(notice.seen_by(self.node)));
            }
            Answer::Noticed(_) => {}
        }
    }

    pub(crate) fn message(&mut self, site: &mut Site, stream: u64, end: End, payload: Payload) {
        match (end, payload) {
            (End::Client, Payload::Opened) => {
                self.peers.opened(stream);
                self.fold(site, RoleInput::FollowerEvent(stream, FollowerEvent::Connected));
            }
            (End::Client, Payload::Down(said)) => {
                self.fold(site, RoleInput::FollowerEvent(stream, FollowerEvent::Said(said)));
            }
            (End::Client, _) => {
                site.close(stream, End::Client);
                self.left(site, stream);
            }
            (End::Server, payload) => self.serve(site, stream, payload),
        }
    }

    fn left(&mut self, site: &mut Site, stream: u64) {
        if self.peers.closed(site, stream) {
            self.fold(site, RoleInput::FollowerEvent(stream, FollowerEvent::Disconnected));
        }
    }

    fn is_owner(&self) -> bool {
        matches!(self.role.standing(), RoleStatus::Owner(_))
    }

    fn serve(&mut self, site: &mut Site, stream: u64, payload: Payload) {
        match payload {
            Payload::Closed => self.unserve(site, stream),
            Payload::Up(told) => {
                if !self.followers.contains_key(&stream) {
                    let follower = site.network.stream(stream).map(|stream| stream.client.0.to_string());
                    self.fold(site, RoleInput::Followed(stream, follower.unwrap_or_default()));
                }
                let cursor = self.followers.entry(stream).or_default();
                if let FromFollower::Cursor(said) = &told {
                    *cursor = said.version.unwrap_or_default();
                }
                self.fold(site, RoleInput::Told(stream, told));
                self.pump(site, stream, PollWant::Changes);
            }
            Payload::Batch(_) | Payload::Join(_) | Payload::Reports(..) if !self.is_owner() => {
                self.unserve(site, stream);
            }
            Payload::Batch(feedback) => {
                self.feeds.insert(stream);
                site.checker.told((self.node, self.life), self.role.pool_state(), &feedback);
                let effects = self.step(site, RoleInput::Owned(PoolInput::Feedback(feedback)));
                for effect in effects {
                    match effect {
                        RoleEffect::Pool(PoolEffect::NeedChain(_, number)) => {
                            site.counters.count(Happening::ChainAsked);
                            site.send(stream, End::Client, Payload::NeedChain(number));
                        }
                        RoleEffect::Pool(PoolEffect::Expired(origin)) => {
                            site.send(stream, End::Client, Payload::Expired(origin));
                        }
                        effect => self.perform(site, effect),
                    }
                }
            }
            Payload::Join(name) => {
                self.collectors.insert(stream);
                self.fold(site, RoleInput::Owned(PoolInput::CollectorJoined(CollectorStream(stream), name)));
            }
            Payload::Reports(epoch, reports) => {
                self.fold(site, RoleInput::Owned(PoolInput::EpochHeard(epoch)));
                self.fold(site, RoleInput::Owned(PoolInput::Reports(CollectorStream(stream), reports)));
            }
            _ => {}
        }
    }

    fn unserve(&mut self, site: &mut Site, stream: u64) {
        let kind = site.network.stream(stream).map(|stream| stream.kind);
        site.close(stream, End::Server);
        self.feeds.remove(&stream);
        if self.followers.remove(&stream).is_some() {
            self.fold(site, RoleInput::Unfollowed(stream));
        }
        if self.collectors.remove(&stream) && kind == Some(Kind::Collect) {
            self.fold(site, RoleInput::Owned(PoolInput::CollectorLeft(CollectorStream(stream))));
        }
    }

    fn step(&mut self, site: &mut Site, input: RoleInput) -> Vec<RoleEffect> {
        let now_ms = site.now_ms(self.node);
        let before = self.role.pool().map(|pool| pool.journal().head());
        site.note(|| format!("{} takes {}", self.node, told(&input)));
        let effects = self.role.fold(now_ms, input);
        site.checker.folded(&mut site.counters, (self.node, self.life), &self.role, before);
        effects
    }

    fn fold(&mut self, site: &mut Site, input: RoleInput) {
        for effect in self.step(site, input) {
            self.perform(site, effect);
        }
    }

    fn perform(&mut self, site: &mut Site, effect: RoleEffect) {
        match effect {
            RoleEffect::Pool(PoolEffect::Published(_)) | RoleEffect::Stirred => self.stir(site),
            RoleEffect::Pool(PoolEffect::Assign(CollectorStream(stream), assigned)) => {
                site.note(|| {
                    let of: Vec<_> = assigned.iter().map(|of| (of.name.as_str(), of.generation.0)).collect();
                    format!("{} assigns on {stream}: {of:?}", self.node)
                });
                site.checker.assigned(&mut site.counters, (self.node, self.life), stream, &assigned);
                site.send(stream, End::Client, Payload::Directive(self.role.epoch(), assigned));
            }
            RoleEffect::Pool(PoolEffect::Dropped(CollectorStream(stream))) => {
                self.collectors.remove(&stream);
                site.close(stream, End::Server);
            }
            RoleEffect::Pool(
                PoolEffect::NeedChain(..)
                | PoolEffect::Expired(_)
                | PoolEffect::Outranked(_)
                | PoolEffect::Count(_),
            ) => {}
            RoleEffect::Tell(stream, said) => site.send(stream, End::Server, Payload::Up(said)),
            RoleEffect::Claim { above } => self.claim(site, above),
            RoleEffect::Release => {
                if let Some(lease) = self.lease {
                    site.ask(self.node, Request::Release(lease));
                }
            }
            RoleEffect::Stands(standing) => self.stands(site, standing),
            RoleEffect::Missed(gap) => site.checker.missed(&mut site.counters, self.node, &gap),
            RoleEffect::Replaced => site.counters.count(Happening::StandbyReplaced),
        }
    }

    fn claim(&mut self, site: &mut Site, above: u64) {
        self.claim += 1;
        self.is_claiming = true;
        let number = self.claim;
        match self.lease {
            Some(lease) => {
                site.ask(self.node, Request::Claim { lease, above, number });
                site.timer(self.node, CLAIM_DEADLINE_MS, Timer::ClaimDeadline(number));
            }
            None => site.timer(self.node, 0, Timer::ClaimDeadline(number)),
        }
    }

    fn stands(&mut self, site: &mut Site, standing: RoleStatus) {
        site.note(|| format!("{} is {standing:?} at {:?}", self.node, self.role.version()));
        match standing {
            RoleStatus::Owner(_) => {
                site.counters.count(Happening::Takeover);
                let pool_now_ms = self.role.pool_now_ms(site.now_ms(self.node));
                site.checker.took_over((self.node, self.life), &self.role, pool_now_ms);
            }
            RoleStatus::TakingOver(_) => {}
            RoleStatus::Standby => {
                site.counters.count(Happening::Deposition);
                let served = std::mem::take(&mut self.feeds).into_iter();
                let served: Vec<_> = served.chain(std::mem::take(&mut self.collectors)).collect();
                served.into_iter().for_each(|stream| site.close(stream, End::Server));
            }
        }
    }

    fn stir(&mut self, site: &mut Site) {
        if !std::mem::replace(&mut self.is_pump_due, true) {
            site.timer(self.node, 0, Timer::Pump);
        }
    }

    fn pump_all(&mut self, site: &mut Site, want: PollWant) {
        let streams: Vec<u64> = self.followers.keys().copied().collect();
        streams.into_iter().for_each(|stream| self.pump(site, stream, want));
    }

    /// Sends a follower what it lacks, so far as it takes it.
    fn pump(&mut self, site: &mut Site, stream: u64, want: PollWant) {
        let now_ms = site.now_ms(self.node);
        while let Some(cursor) = self.followers.get_mut(&stream)
            && site
                .network
                .stream(stream)
                .is_some_and(|stream| stream.on_the_way[End::Client as usize] < WINDOW)
        {
            match self.role.answer(now_ms, FollowerPoll { follower: stream, cursor: *cursor, want }) {
                PollReply::Current(said) => {
                    said.into_iter().for_each(|said| site.send(stream, End::Client, Payload::Down(said)));
                    return;
                }
                PollReply::Frame(frame) => {
                    site.counters.framed(&frame);
                    *cursor = frame.ends_at().unwrap_or(*cursor);
                    site.send(stream, End::Client, Payload::Down(FromAggregator::Frame(frame)));
                }
                PollReply::Snapshot(snapshot) => {
                    site.counters.count(Happening::SnapshotGiven);
                    site.note(|| format!("{} gives a snapshot on stream {stream}", self.node));
                    *cursor = snapshot.version;
                    for frame in snapshot.frames() {
                        let said = FromAggregator::Frame(frame);
                        site.send(stream, End::Client, Payload::Down(said));
                    }
                }
                // It asks again with the next beat.
                PollReply::Later => return,
            }
        }
    }
}

/// An input in a few words.
fn told(input: &RoleInput) -> String {
    let text = format!("{input:?}");
    text.chars().take(200).collect()
}
