//! Where requests wait at a replica: in the EPP's gate, or in the Go EPP's queues. What a replica does in its tasks is done here
//! when the simulation's time has come.

use std::collections::HashMap;
use std::sync::Arc;

use signalbox_admission::{
    Admission, Admitter, Ended, FlowMode, GateCore, LatestSaturation, OwnerNews, Seen,
};
use signalbox_flow::{DropReason, FlowSettings, Ticket};
use signalbox_schedule::{Decision, DecisionInputs};
use signalbox_state::{BacklogReporter, FlowReport, GaugeScope, View};
use signalbox_types::{Origin, Request};

use crate::policies::{GoFlow, go_saturation};
use crate::sim::flow::Control;

/// Returns what a replica knows at `now_ms`, if it has not heard the owner for `silence_ms`.
pub(super) fn seen(view: &View, origin: Origin, (now_ms, silence_ms): (u64, u64)) -> Seen<'_> {
    Seen { view, origin, now_ms, owner_silence_ms: silence_ms, view_age_ms: silence_ms }
}

/// Where requests wait at a replica.
pub(super) enum Gate {
    None,
    Signalbox(Box<SignalboxGate>),
    Go(GoFlow),
}

/// The EPP's gate, without its tasks.
pub(super) struct SignalboxGate {
    core: GateCore<usize>,
    settings: Arc<FlowSettings>,
    saturation: LatestSaturation,
    reporter: BacklogReporter,
    /// The places of requests that wait or are on their way.
    tickets: HashMap<usize, Ticket>,
}

/// How waits ended: requests that go, and those that are dropped.
pub(in crate::sim) struct Ends {
    pub(in crate::sim) granted: Vec<usize>,
    pub(in crate::sim) dropped: Vec<usize>,
}

impl From<Ended<usize>> for Ends {
    fn from(Ended { granted, dropped }: Ended<usize>) -> Self {
        Self { granted, dropped: dropped.into_iter().map(|(request, _)| request).collect() }
    }
}

impl Gate {
    pub(super) fn new(control: &Control) -> Self {
        match control {
            Control::None => Self::None,
            Control::Go => Self::Go(GoFlow::default()),
            Control::Signalbox(settings) => Self::Signalbox(Box::new(SignalboxGate {
                core: GateCore::default(),
                settings: Arc::clone(settings),
                saturation: LatestSaturation::default(),
                reporter: BacklogReporter::default(),
                tickets: HashMap::new(),
            })),
        }
    }

    /// Returns the time between two ticks in microseconds, while requests wait.
    pub(super) fn tick_us(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Signalbox(gate) => gate.core.waits().then_some(signalbox_admission::TICK_MS * 1_000),
            Self::Go(queues) => queues.waits().then_some(GoFlow::TICK_US),
        }
    }

    /// Does what is due at a tick.
    pub(super) fn tick(&mut self, seen: Seen<'_>) -> Ends {
        match self {
            Self::None => Ends { granted: Vec::new(), dropped: Vec::new() },
            Self::Signalbox(gate) => gate.tick(seen).into(),
            Self::Go(queues) => {
                let dropped = queues.expire(seen.now_ms);
                let granted = queues.dispatch(|| go_saturation(seen));
                Ends { granted: granted.into_iter().collect(), dropped }
            }
        }
    }

    /// Applies what a new view says.
    pub(super) fn apply(&mut self, view: &View, origin: Origin, now_ms: u64) -> Vec<usize> {
        match self {
            Self::Signalbox(gate) => gate.core.apply(now_ms, &OwnerNews::of(view, origin)).granted,
            Self::None | Self::Go(_) => Vec::new(),
        }
    }

    /// Forgets a request that was booked.
    pub(super) fn leave(&mut self, request: usize) {
        if let Self::Signalbox(gate) = self
            && let Some(ticket) = gate.tickets.remove(&request)
        {
            gate.core.leave(ticket);
        }
    }

    /// Returns what waits here, as the EPP's uplink reports it.
    pub(super) fn report(&mut self, now_ms: u64, scope: GaugeScope) -> FlowReport {
        let Self::Signalbox(gate) = self else { return FlowReport::default() };
        let backlogs = gate.core.take_backlogs(now_ms);
        let backlogs = gate.reporter.report(scope, backlogs.iter().map(|(flow, of)| (flow, *of)));
        let settings = (scope == GaugeScope::All).then(|| Arc::clone(&gate.settings));
        FlowReport { backlogs, settings, ..FlowReport::default() }
    }
}

impl SignalboxGate {
    fn tick(&mut self, seen: Seen<'_>) -> Ended<usize> {
        let is_silent = self.core.is_owner_silent(seen.now_ms, seen.owner_silence_ms);
        let saturation = is_silent.then(|| seen.share_saturation(&self.settings.detector)).flatten();
        self.core.tick(&self.settings, seen.now_ms, is_silent, saturation)
    }

    /// Returns what happens to a request for which a decision was made, as the EPP does it.
    pub(super) fn admit(
        &self,
        seen: Seen<'_>,
        (inputs, decision): (&DecisionInputs<'_>, &Decision),
    ) -> Admission {
        let Seen { now_ms, owner_silence_ms, view_age_ms, .. } = seen;
        let highest_waiting = self.core.highest_waiting(owner_silence_ms);
        let (mode, settings) = (FlowMode::On, &self.settings);
        let admitter = Admitter { mode, settings, highest_waiting, view_age_ms };
        let pool = || seen.pool_saturation(&settings.detector);
        admitter.admit(inputs, decision, || self.saturation.at(now_ms, pool))
    }

    /// Lets a request wait that has so many tokens.
    pub(super) fn enqueue(
        &mut self,
        seen: Seen<'_>,
        number: usize,
        (request, tokens): (&Request, u64),
    ) -> Result<(), DropReason> {
        let arrival = seen.arrival(request, tokens, request.prompt.text_bytes);
        let (ticket, _) = self.core.enqueue(&self.settings, seen.now_ms, arrival, number)?;
        self.tickets.insert(number, ticket);
        Ok(())
    }
}
