//! Random lives of a pool, as data.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use signalbox_state::{GaugeScope, ScrapeStatus};
use signalbox_types::Load;

pub(crate) const ENDPOINTS: usize = 4;
pub(crate) const ORIGINS: u64 = 3;
pub(crate) const COLLECTORS: usize = 3;

pub(crate) type Prompt = Vec<u8>;

/// What a collector says of an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) incarnation: u64,
    pub(crate) scrape_status: ScrapeStatus,
    pub(crate) gauges: Option<(u32, u32)>,
    pub(crate) kv_tokens: Option<u64>,
    pub(crate) adapter: Option<u8>,
}

/// What happens to a pool.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// For each endpoint: at which of its addresses it is, if at all. And the number of what is said of models.
    Spec(Vec<Option<u8>>, u8),
    Join(usize),
    Leave(usize),
    Report(usize, Said),
    /// Gauges, and prompts sent to endpoints, each with how much of it the replica believes known.
    Feedback {
        origin: u64,
        scope: GaugeScope,
        gauges: Vec<(usize, Load)>,
        placements: Vec<(usize, Prompt, usize)>,
    },
    /// The replica sends the chains that it was asked for.
    ResponseReport(u64),
    Tick(u64),
}

pub(crate) fn prompt() -> impl Strategy<Value = Prompt> {
    vec(0_u8..3, 1..9)
}

pub(crate) fn load() -> impl Strategy<Value = Load> {
    (0_u32..4, 0_u64..3).prop_map(|(requests, prefill_tokens)| Load {
        requests,
        prefills: requests / 2,
        prefill_tokens,
    })
}

pub(crate) fn scrape_status() -> impl Strategy<Value = ScrapeStatus> {
    prop_oneof![4 => Just(ScrapeStatus::Fresh), 1 => Just(ScrapeStatus::Stale), 1 => Just(ScrapeStatus::Down)]
}

pub(crate) fn scope() -> impl Strategy<Value = GaugeScope> {
    prop_oneof![3 => Just(GaugeScope::Changed), 1 => Just(GaugeScope::Whole)]
}

fn said() -> impl Strategy<Value = Said> {
    let gauges = option::of((0_u32..3, 0_u32..9));
    (0_u64..3, scrape_status(), gauges, option::of(0_u64..16), option::of(any::<u8>())).prop_map(
        |(incarnation, scrape_status, gauges, kv_tokens, adapter)| Said {
            incarnation,
            scrape_status,
            gauges,
            kv_tokens,
            adapter,
        },
    )
}

fn feedback() -> impl Strategy<Value = Step> {
    let gauges = vec((0..ENDPOINTS, load()), 0..4);
    let placements = vec((0..ENDPOINTS, prompt(), 0_usize..9), 0..4);
    (0..ORIGINS, scope(), gauges, placements).prop_map(|(origin, scope, gauges, placements)| Step::Feedback {
        origin,
        scope,
        gauges,
        placements,
    })
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (vec(option::weighted(0.8, 0_u8..2), ENDPOINTS), 0_u8..3)
            .prop_map(|(sites, models)| Step::Spec(sites, models)),
        1 => (0..COLLECTORS).prop_map(Step::Join),
        1 => (0..COLLECTORS).prop_map(Step::Leave),
        6 => (0..ENDPOINTS, said()).prop_map(|(endpoint, said)| Step::Report(endpoint, said)),
        8 => feedback(),
        2 => (0..ORIGINS).prop_map(Step::ResponseReport),
        2 => (0_u64..2_500).prop_map(Step::Tick),
    ]
}

/// A life that begins with all endpoints, each read by somebody.
pub(crate) fn life(steps: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), steps).prop_map(|steps| {
        let first = [Step::Spec(vec![Some(0); ENDPOINTS], 0), Step::Join(0)];
        first.into_iter().chain(steps).collect()
    })
}
