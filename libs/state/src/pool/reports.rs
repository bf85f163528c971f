//! What the owner makes of collectors' reports, and of their silence.

use signalbox_types::Incarnation;

use super::{Effect, Noted, Pool};
use crate::assign::CollectorStream;
use crate::change::{Change, Observed};
use crate::observe::{Reach, Report, Update};
use crate::picture::{Member, is_rebirth};

impl Pool {
    pub(super) fn fold_report(
        &mut self,
        now_ms: u64,
        stream: CollectorStream,
        report: Report,
    ) -> Option<Effect> {
        let Report { endpoint, generation, age_ms, update } = report;
        let (Some(member), Some(record)) = (self.picture.member(endpoint), self.records.get_mut(&endpoint))
        else {
            return None;
        };
        if !self.assignments.is_current(stream, endpoint, generation) {
            return Some(Effect::Noted(Noted::ReportOutdated(stream)));
        }
        let before = member.observed.clone();
        let booked = member.load().requests;
        let Update { incarnation, reach, gauges, capacity, adapters, pace } = update;
        // A collector that has not read the endpoint yet knows nothing of its life.
        let incarnation =
            if incarnation == Incarnation::default() { before.incarnation } else { incarnation };
        let is_rebirth = is_rebirth(before.incarnation, incarnation);
        if is_rebirth {
            record.reborn();
        }
        let gauges = gauges.unwrap_or(before.gauges);
        let mut foreign = before.foreign;
        if reach == Reach::Fresh {
            foreign = record.foreign.sample(gauges, booked);
            record.read(now_ms);
        }
        pace.into_iter().for_each(|pace| record.pace(pace));
        let since_ms =
            if reach == before.reach { before.reach_since_ms } else { now_ms.saturating_sub(age_ms) };
        let observed = Observed {
            incarnation,
            reach,
            reach_since_ms: since_ms,
            gauges,
            foreign,
            capacity: capacity.or(before.capacity),
        };
        if observed != before {
            self.commit(Change::Observed { endpoint, observed });
        }
        match adapters {
            Some(adapters) => self.fold_adapters(endpoint, &adapters),
            None if is_rebirth => self.shelve(endpoint),
            None => {}
        }
        self.make_room(endpoint);
        None
    }

    pub(super) fn fold_tick(&mut self, now_ms: u64) -> Vec<Effect> {
        let lost = self.assignments.expire(now_ms, self.config.collector_ttl_ms);
        let mut effects: Vec<_> = lost.iter().copied().map(Effect::Dropped).collect();
        let moved = self.assignments.settle(now_ms, !lost.is_empty());
        effects.extend(self.assign(moved));
        for origin in self.origins.expire(now_ms, self.config.origin_ttl_ms) {
            self.commit(Change::OriginExpired { origin });
            effects.push(Effect::Noted(Noted::OriginExpired(origin)));
        }
        let typical = self.typical_rates();
        let members: Vec<_> = self.picture.members().cloned().collect();
        for member in members {
            if let Some(observed) = self.aged(now_ms, &member) {
                self.commit(Change::Observed { endpoint: member.key, observed });
            }
            self.assess(now_ms, typical, member.key);
        }
        effects
    }

    /// What becomes of an endpoint's values when time passes without a report: they grow stale, or count once more.
    fn aged(&mut self, now_ms: u64, member: &Member) -> Option<Observed> {
        let before = &member.observed;
        let since_ms = now_ms.saturating_sub(before.reach_since_ms);
        match before.reach {
            Reach::Fresh => {}
            Reach::Unknown if since_ms >= self.config.stale_after_ms => {
                return Some(Observed { reach: Reach::Stale, reach_since_ms: now_ms, ..before.clone() });
            }
            Reach::Unknown | Reach::Stale | Reach::Down => return None,
        }
        if self.assignments.is_unread(now_ms, member.key, self.config.stale_after_ms) {
            let aged = Observed { reach: Reach::Stale, reach_since_ms: now_ms, ..before.clone() };
            return Some(aged);
        }
        let recent = &mut self.records.get_mut(&member.key)?.foreign;
        if !recent.is_due() {
            return None;
        }
        let foreign = recent.sample(before.gauges, member.load().requests);
        recent.is_due(); // this sample stands for the tick itself
        (foreign != before.foreign).then(|| Observed { foreign, ..before.clone() })
    }
}
