//! Checksums over the parts of a flow table. That of a part with only default values is 0.

use signalbox_flow::{
    BandSettings, BandShares, Caps, Ceilings, Credit, Detector, Fairness, FlowKey, FlowSettings, Ordering,
    PeerBacklog, PeerRevocable, RevocableClass, Served, Usage,
};
use signalbox_types::Origin;

use super::flow_measures::{DrainRate, FlowMeasures};
use super::origin_flows::OriginFlows;
use crate::pool_state::digest::{NONE, hash_all, hash_text};

/// What the first word of each checksum says that it is of.
const SETTINGS: u64 = 1;
const REPORTED_SETTINGS: u64 = 2;
const BACKLOG: u64 = 3;
const BAND: u64 = 4;
const SERVED: u64 = 5;
const MEASURES: u64 = 6;
const REVOCABLE: u64 = 7;
const REVOKES: u64 = 8;

/// Returns the checksum of whether requests in flight are revoked.
pub(super) fn of_revokes(settings: &FlowSettings) -> u64 {
    if settings.revokes { hash_all(&[REVOKES]) } else { 0 }
}

/// Returns the checksum of settings, but for whether requests in flight are revoked: earlier releases do not know that.
pub(super) fn of_settings(settings: &FlowSettings) -> u64 {
    let FlowSettings {
        caps,
        request_ttl_ms,
        no_endpoint_ttl_ms,
        sheddable_wait_ms,
        bands,
        default_band,
        default_negative_band,
        weights,
        detector,
        ceilings,
        revokes,
    } = settings;
    if *settings == (FlowSettings { revokes: *revokes, ..FlowSettings::default() }) {
        return 0;
    }
    let mut words = vec![SETTINGS];
    words.extend(words_of_caps(*caps));
    words.extend([request_ttl_ms.unwrap_or(NONE), no_endpoint_ttl_ms.unwrap_or(NONE), *sheddable_wait_ms]);
    words.extend(words_of_band(default_band).into_iter().chain(words_of_band(default_negative_band)));
    words.push(bands.len() as u64);
    for (priority, band) in bands {
        words.push(word(*priority));
        words.extend(words_of_band(band));
    }
    words.push(weights.len() as u64);
    words.extend(weights.iter().flat_map(|(id, weight)| [hash_text(id), u64::from(*weight)]));
    words.extend(words_of_detector(*detector));
    words.extend(words_of_ceilings(*ceilings));
    hash_all(&words)
}

/// Returns the checksum of what waits at a replica, and of its settings.
pub(super) fn of_origin(origin: Origin, flows: &OriginFlows) -> u64 {
    let reported = flows.reported_settings().map(|sum| hash_all(&[REPORTED_SETTINGS, origin.0, sum]));
    let backlogs = flows.backlogs().map(|(flow, backlog)| of_backlog(origin, flow, *backlog));
    reported.into_iter().chain(backlogs).fold(0, u64::wrapping_add)
}

pub(super) fn of_backlog(origin: Origin, flow: &FlowKey, backlog: PeerBacklog) -> u64 {
    let PeerBacklog { usage: Usage { requests, bytes, tokens }, oldest_ms, released, granted } = backlog;
    if backlog == PeerBacklog::default() {
        return 0;
    }
    let FlowKey { priority, id } = flow;
    let flow = [word(*priority), hash_text(id)];
    hash_all(&[BACKLOG, origin.0, flow[0], flow[1], requests, bytes, tokens, oldest_ms, released, granted])
}

/// Returns the checksum of what can be revoked at a replica.
pub(super) fn of_origin_revocable(origin: Origin, flows: &OriginFlows) -> u64 {
    let reported = flows.reports_revokes().then(|| hash_all(&[REVOKES, origin.0]));
    let classes = flows.revocable().map(|(class, revocable)| of_revocable(origin, class, revocable));
    reported.into_iter().chain(classes).fold(0, u64::wrapping_add)
}

pub(super) fn of_revocable(origin: Origin, class: RevocableClass, revocable: PeerRevocable) -> u64 {
    let PeerRevocable { requests, tokens, newest_ms, oldest_ms, revoked, ordered } = revocable;
    if revocable == PeerRevocable::default() {
        return 0;
    }
    let RevocableClass { priority, is_processed } = class;
    let class = [origin.0, word(priority), u64::from(is_processed)];
    let numbers = [requests, tokens, newest_ms, oldest_ms, revoked, ordered];
    hash_all(&[&[REVOCABLE], class.as_slice(), numbers.as_slice()].concat())
}

/// Returns the checksum of what is known of a band, without its flows.
pub(super) fn of_band(priority: i32, shares: &BandShares) -> u64 {
    let BandShares { virtual_time, latest, credit: Credit { hundredths }, served: _ } = shares;
    let latest = latest.as_ref().map(|id| hash_text(id));
    if (*virtual_time, latest, *hundredths) == (0, None, 0) {
        return 0;
    }
    hash_all(&[BAND, word(priority), *virtual_time, latest.unwrap_or(NONE), *hundredths])
}

pub(super) fn of_served(priority: i32, id: &str, served: Served) -> u64 {
    let Served { finish, attained_milli, attained_at_ms } = served;
    if served == Served::default() {
        return 0;
    }
    hash_all(&[SERVED, word(priority), hash_text(id), finish, attained_milli, attained_at_ms])
}

pub(super) fn of_measures(measures: FlowMeasures) -> u64 {
    // Older releases do not know the assumed speed.
    let FlowMeasures { saturation_milli, drain_rate, assumed_speed_milli: _ } = measures;
    let DrainRate { milli_requests_per_second, tokens_per_second } = drain_rate;
    let words = [u64::from(saturation_milli), milli_requests_per_second, tokens_per_second];
    if words == [0; 3] {
        return 0;
    }
    let [saturation_milli, milli_requests_per_second, tokens_per_second] = words;
    hash_all(&[MEASURES, saturation_milli, milli_requests_per_second, tokens_per_second])
}

fn word(priority: i32) -> u64 {
    i64::from(priority) as u64
}

fn words_of_caps(caps: Caps) -> [u64; 3] {
    let Caps { requests, bytes, tokens } = caps;
    [requests, bytes, tokens]
}

fn words_of_band(band: &BandSettings) -> [u64; 6] {
    let BandSettings { caps, fairness, ordering, min_share_percent } = *band;
    let fairness = match fairness {
        Fairness::Weighted => 0,
        Fairness::Strict => 1,
        Fairness::RoundRobin => 2,
        Fairness::ProgramAware => 3,
    };
    let ordering = match ordering {
        Ordering::Arrival => 0,
        Ordering::Deadline => 1,
        Ordering::TtftGoal => 2,
    };
    let [requests, bytes, tokens] = words_of_caps(caps);
    [requests, bytes, tokens, fairness, ordering, u64::from(min_share_percent)]
}

fn words_of_detector(detector: Detector) -> [u64; 3] {
    let bits = |limit: Option<f64>| limit.map_or(NONE, f64::to_bits);
    match detector {
        Detector::Wait { hold_ms } => [0, hold_ms, 0],
        Detector::Utilization { queue_depth, kv_use } => [1, queue_depth.to_bits(), kv_use.to_bits()],
        Detector::Concurrency { requests, tokens } => [2, bits(requests), bits(tokens)],
    }
}

fn words_of_ceilings(ceilings: Ceilings) -> [u64; 3] {
    match ceilings {
        Ceilings::Static => [0; 3],
        Ceilings::HoldbackByRank { lowest, highest } => [1, lowest.to_bits(), highest.to_bits()],
        Ceilings::HoldbackByValue { lowest, highest } => [2, lowest.to_bits(), highest.to_bits()],
        Ceilings::Reflective => [3, 0, 0],
    }
}
