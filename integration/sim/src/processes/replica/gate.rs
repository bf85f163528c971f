//! Where requests wait at a simulated replica, and which ones in flight it revokes: the EPP's gate, without its tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_admission::{
    Admission, Admitter, Awake, Ended, FlowMode, GateCore, LatestSaturation, OwnerNews, RevocableRequests,
    RevocableTicket, Seen,
};
use signalbox_flow::{Backlog, DropReason, FlowKey, FlowSettings, RevocableClass, Saturation, Ticket};
use signalbox_schedule::{Decision, DecisionInputs};
use signalbox_state::{BacklogReporter, FlowReport, GaugeScope};
use signalbox_types::Request;

use super::arriving::Arriving;

/// A request that waits, or is on its way to an endpoint.
#[derive(Debug)]
struct Held {
    ticket: Ticket,
    request: Arriving,
    tokens: u64,
}

/// Where requests wait at a replica.
#[derive(Debug)]
pub(crate) struct Gate {
    core: GateCore<u64>,
    settings: Option<Arc<FlowSettings>>,
    saturation: LatestSaturation,
    reporter: BacklogReporter,
    awake: Awake,
    pub(super) is_tended: bool,
    /// By number.
    held: BTreeMap<u64, Held>,
    /// The requests in flight that can be revoked, and their places, by number.
    revocable: RevocableRequests<u64>,
    revocable_tickets: BTreeMap<u64, RevocableTicket>,
    /// Since when the pool has had room and no request has gone from here, in milliseconds.
    idle_since_ms: Option<u64>,
}

impl Gate {
    pub(super) fn new(settings: Option<FlowSettings>) -> Self {
        Self {
            core: GateCore::default(),
            settings: settings.map(Arc::new),
            saturation: LatestSaturation::default(),
            reporter: BacklogReporter::default(),
            awake: Awake::default(),
            is_tended: false,
            held: BTreeMap::new(),
            revocable: RevocableRequests::default(),
            revocable_tickets: BTreeMap::new(),
            idle_since_ms: None,
        }
    }

    /// Returns the settings, if requests can wait.
    pub(super) fn settings(&self) -> Option<&Arc<FlowSettings>> {
        self.settings.as_ref()
    }

    /// Returns how many requests wait, or are on their way to an endpoint.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Returns what happens to a request for which a decision was made.
    pub(super) fn admit(
        &self,
        seen: Seen<'_>,
        (inputs, decision): (&DecisionInputs<'_>, &Decision),
    ) -> Admission {
        let Some(settings) = &self.settings else { return Admission::Go };
        let Seen { now_ms, owner_silence_ms, view_age_ms, .. } = seen;
        let highest_waiting = self.core.highest_waiting(owner_silence_ms);
        let admitter = Admitter { mode: FlowMode::On, settings, highest_waiting, view_age_ms };
        let pool = || seen.pool_saturation(&settings.detector);
        admitter.admit(inputs, decision, || self.saturation.at(now_ms, pool))
    }

    /// Lets a request wait that has so many tokens.
    ///
    /// # Errors
    /// Why it cannot wait.
    pub(super) fn enqueue(
        &mut self,
        seen: Seen<'_>,
        request: Arriving,
        (inputs, tokens): (&Request, u64),
    ) -> Result<(), DropReason> {
        let settings = self.settings.clone().unwrap_or_default();
        let arrival = seen.arrival(inputs, tokens, inputs.prompt.text_bytes);
        let (ticket, _) = self.core.enqueue(&settings, seen.now_ms, arrival, request.number)?;
        self.held.insert(request.number, Held { ticket, request, tokens });
        Ok(())
    }

    /// Begins to tend what waits.
    pub(super) fn begin_tending(&mut self, now_ms: u64) {
        self.is_tended = true;
        self.awake.begin(now_ms);
    }

    /// Applies what a new view says. Also returns the requests in flight that are to be revoked, with their classes and up to
    /// which number these are.
    pub(super) fn apply(&mut self, seen: Seen<'_>) -> (Ended<u64>, Vec<(u64, RevocableClass, u64)>) {
        let news = OwnerNews::of(seen.view, seen.origin);
        let ended = self.core.apply(seen.now_ms, &news);
        if !ended.granted.is_empty() {
            self.idle_since_ms = None;
        }
        let highest_waiting = self.core.highest_waiting(0);
        let follow = |(class, up_to)| {
            let numbers = self.revocable.follow(highest_waiting, [(class, up_to)]);
            numbers.into_iter().map(move |number| (number, class, up_to)).collect::<Vec<_>>()
        };
        (ended, news.revocations.into_iter().flat_map(follow).collect())
    }

    /// Adds a request that was sent to an endpoint. Returns whether it can be revoked.
    pub(super) fn add_revocable(&mut self, now_ms: u64, number: u64, (priority, tokens): (i32, u64)) -> bool {
        let revokes = self.settings.as_ref().is_some_and(|settings| settings.revokes) && priority < 0;
        if revokes {
            let ticket = self.revocable.insert(now_ms, priority, tokens, number);
            self.revocable_tickets.insert(number, ticket);
        }
        revokes
    }

    /// Returns whether a request can be revoked, or is to be.
    pub(super) fn is_revocable(&self, number: u64) -> bool {
        self.revocable_tickets.contains_key(&number)
    }

    /// Records that the prompt of a request is processed.
    pub(super) fn record_processed(&mut self, number: u64) {
        if let Some(ticket) = self.revocable_tickets.get_mut(&number) {
            self.revocable.record_processed(ticket);
        }
    }

    /// Forgets a request whose response begins, or which has ended. Returns whether it was known.
    pub(super) fn remove_revocable(&mut self, number: u64) -> bool {
        self.revocable_tickets.remove(&number).is_some_and(|ticket| self.revocable.remove(ticket))
    }

    /// Does what is due while requests wait. Returns whose wait has ended, and the saturation of this replica's share of the pool
    /// if the replica grants by itself.
    pub(super) fn tick(&mut self, seen: Seen<'_>) -> (Ended<u64>, Option<Saturation>) {
        let settings = self.settings.clone().unwrap_or_default();
        let Seen { now_ms, owner_silence_ms, .. } = seen;
        let silence_ms = self.awake.owner_silence_ms(now_ms, owner_silence_ms);
        let is_silent = self.core.is_owner_silent(now_ms, silence_ms);
        let saturation = is_silent.then(|| seen.share_saturation(&settings.detector)).flatten();
        (self.core.tick(&settings, now_ms, is_silent, saturation), saturation)
    }

    /// Returns the tokens of the smallest request that waits or is on its way.
    pub(super) fn least_tokens(&self) -> u64 {
        self.held.values().map(|held| held.tokens).min().unwrap_or(0)
    }

    /// Records whether requests go. Returns for how long none has gone although the pool has room, in milliseconds. Of a pool that
    /// is half empty, nothing waits.
    pub(super) fn record_progress(&mut self, now_ms: u64, saturation: Option<f64>, has_gone: bool) -> u64 {
        let is_idle = self.core.waits() && !has_gone && saturation.is_some_and(|value| value < 0.5);
        self.idle_since_ms = is_idle.then(|| self.idle_since_ms.unwrap_or(now_ms));
        self.idle_since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms))
    }

    /// Returns whether any requests wait.
    pub(super) fn waits(&self) -> bool {
        self.core.waits()
    }

    /// Returns a request that waited and goes on.
    pub(super) fn depart(&mut self, number: u64) -> Option<(Ticket, Arriving)> {
        self.held.remove(&number).map(|held| (held.ticket, held.request))
    }

    /// Returns the numbers of the requests that wait or are on their way.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.held.keys().copied().collect()
    }

    /// Gives up the place of a request.
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        self.core.leave(ticket)
    }

    /// Returns what waits here, to be reported.
    pub(super) fn take_backlogs(&mut self, now_ms: u64) -> Vec<(FlowKey, Backlog)> {
        self.core.take_backlogs(now_ms)
    }

    /// Returns what waits here.
    pub(super) fn backlogs(&self, now_ms: u64) -> Vec<(FlowKey, Backlog)> {
        self.core.backlogs(now_ms)
    }

    /// Returns what the uplink reports of `backlogs`, and of what can be revoked.
    pub(super) fn report(
        &mut self,
        now_ms: u64,
        scope: GaugeScope,
        backlogs: &[(FlowKey, Backlog)],
    ) -> FlowReport {
        let backlogs = self.reporter.report(scope, backlogs.iter().map(|(flow, of)| (flow, *of)));
        let revocable = self.revocable.report(now_ms, scope);
        let settings = self.settings.clone().filter(|_| scope == GaugeScope::All);
        FlowReport { backlogs, revocable, settings }
    }
}
