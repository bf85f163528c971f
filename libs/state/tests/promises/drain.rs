//! What a replica lays over its view is gone in the end, whatever became of its placements.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use signalbox_prefix::{Lookup, Match};
use signalbox_state::{Outbox, Overlay, PlacedPrompt, Placement, Pool, PoolEffect, PoolInput};
use signalbox_types::{EndpointKey, Incarnation};

use crate::feedback::{batch, changed};
use crate::support::steps::{ENDPOINTS, Prompt, prompt};
use crate::support::{chain, config, endpoint, pool_of};

const DEADLINE_MS: u64 = 500;

#[derive(Clone, Debug)]
enum Step {
    Place(usize, Prompt),
    /// Up to so many placements are sent; whether they and the answers to them arrive.
    Send(usize, bool),
    Acknowledge,
    Reconnect,
    Wait(u64),
    /// The owner is lost, and one that knows nothing takes its place.
    Replace,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..ENDPOINTS, prompt()).prop_map(|(at, prompt)| Step::Place(at, prompt)),
        4 => (1_usize..5, any::<bool>()).prop_map(|(limit, arrives)| Step::Send(limit, arrives)),
        3 => proptest::prelude::Just(Step::Acknowledge),
        1 => proptest::prelude::Just(Step::Reconnect),
        2 => (0_u64..200).prop_map(Step::Wait),
        1 => proptest::prelude::Just(Step::Replace),
    ]
}

/// A replica and the owner it feeds.
struct Pair {
    pool: Pool,
    outbox: Outbox,
    overlay: Overlay,
    now_ms: u64,
    seq: u64,
}

impl Pair {
    fn new() -> Self {
        let (outbox, overlay) = (Outbox::default(), Overlay::default());
        Self { pool: pool_of(ENDPOINTS, config()), outbox, overlay, now_ms: 0, seq: 0 }
    }

    fn sight(&self, prompt: &[u8]) -> Lookup {
        let mut lookup = self.pool.pool_state().residents().index().lookup(&chain(prompt));
        self.overlay.extend(&chain(prompt), &mut lookup);
        lookup
    }

    fn place(&mut self, at: EndpointKey, prompt: &[u8]) {
        let lookup = self.sight(prompt);
        let held = lookup.held.iter().find(|of| of.endpoint == at).map_or(0, |of| of.blocks);
        let placed = PlacedPrompt {
            endpoint: at,
            incarnation: Incarnation(0),
            chain: chain(prompt),
            known: lookup.known,
            held,
        };
        self.overlay.place(&placed);
        self.outbox.put(self.now_ms, placed);
    }

    fn deliver(&mut self, placements: Vec<Placement>) {
        self.seq += 1;
        let effects = self.pool.fold(0, PoolInput::Feedback(changed(1, self.seq, Vec::new(), placements)));
        let asked = effects.iter().filter_map(|effect| match effect {
            PoolEffect::NeedChain(_, number) => self.outbox.whole_chain(*number),
            _ => None,
        });
        let chains: Vec<_> = asked.collect();
        if !chains.is_empty() {
            self.deliver(chains);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Place(at, prompt) => self.place(endpoint(*at), prompt),
            Step::Send(limit, arrives) => {
                let sent = self.outbox.take_unsent(*limit);
                if *arrives {
                    self.deliver(sent);
                }
            }
            Step::Acknowledge => {
                let number = self.pool.pool_state().acknowledged(signalbox_types::Origin(1));
                self.outbox.acknowledged(number, &self.overlay);
            }
            Step::Reconnect => {
                self.outbox.send_again();
                self.seq += 1;
                self.pool.fold(0, PoolInput::Feedback(batch(1, self.seq, Vec::new(), Vec::new())));
            }
            Step::Wait(passed_ms) => {
                self.now_ms += passed_ms;
                self.outbox.expire(self.now_ms, DEADLINE_MS, &self.overlay);
            }
            Step::Replace => {
                self.pool = pool_of(ENDPOINTS, config());
                self.outbox.send_again();
            }
        }
    }
}

proptest! {
    #[test]
    fn it_drains_when_everything_arrives_again(steps in vec(step(), 1..60)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.step(step);
            prop_assert_eq!(pair.outbox.len(), pair.overlay.len());
        }
        for step in [Step::Reconnect, Step::Send(usize::MAX, true), Step::Acknowledge] {
            pair.step(&step);
        }
        prop_assert!(pair.outbox.is_empty() && pair.overlay.is_empty());
        prop_assert!(is_bare(&pair.overlay, &steps));
    }

    #[test]
    fn it_drains_by_itself_when_nothing_arrives_any_more(steps in vec(step(), 1..60)) {
        let mut pair = Pair::new();
        steps.iter().for_each(|step| pair.step(step));
        pair.step(&Step::Wait(DEADLINE_MS));
        prop_assert!(pair.outbox.is_empty() && pair.overlay.is_empty() && !pair.outbox.has_unsent());
        prop_assert!(is_bare(&pair.overlay, &steps));
    }

    #[test]
    fn each_placement_is_sent_once_on_a_connection_in_order(limits in vec(1_usize..9, 1..30)) {
        let mut pair = Pair::new();
        let mut sent = Vec::new();
        for limit in limits {
            pair.place(endpoint(0), &[0, 1]);
            pair.place(endpoint(1), &[1]);
            sent.extend(pair.outbox.take_unsent(limit).iter().map(|placement| placement.number));
        }
        let expected: Vec<u64> = (1..=sent.len() as u64).collect();
        prop_assert_eq!(expected, sent);
    }
}

/// No match of any prompt in `steps` goes on by what is laid over the view, wherever the view ends.
fn is_bare(overlay: &Overlay, steps: &[Step]) -> bool {
    // Of something else, because an overlay of nothing is not looked at.
    let (endpoint_key, incarnation) = (EndpointKey(1), Incarnation(0));
    overlay.place(&PlacedPrompt {
        endpoint: endpoint_key,
        incarnation,
        chain: chain(&[]),
        known: 0,
        held: 0,
    });
    let placed = steps.iter().filter_map(|step| match step {
        Step::Place(at, prompt) => Some((endpoint(*at), prompt)),
        _ => None,
    });
    let mut ends = placed.flat_map(|(at, prompt)| (1..prompt.len()).map(move |end| (at, prompt, end)));
    ends.all(|(at, prompt, end)| {
        let view = Lookup { known: end, held: vec![Match::on_device(at, end)] };
        let mut lookup = view.clone();
        overlay.extend(&chain(prompt), &mut lookup);
        lookup == view
    })
}

#[test]
fn an_own_placement_counts_at_once_and_for_the_next_anchor() {
    let mut pair = Pair::new();
    pair.place(endpoint(0), &[0, 1, 2]);
    let held = vec![Match::on_device(endpoint(0), 3)];
    assert_eq!(Lookup { known: 3, held }, pair.sight(&[0, 1, 2, 2]));
    pair.place(endpoint(0), &[0, 1, 2, 2]);
    let sent = pair.outbox.take_unsent(9);
    assert_eq!((3, chain(&[0])[0]), (sent[0].suffix.len(), sent[1].anchor));
    pair.deliver(sent);
    pair.step(&Step::Acknowledge);
    assert_eq!((4, true), (pair.sight(&[0, 1, 2, 2]).known, pair.overlay.is_empty()));
}

#[test]
fn a_batch_has_bounded_size_and_a_placement_of_any_size_gets_through() {
    let mut outbox = Outbox::default();
    for blocks in [70_000, 30_000, 30_000, 30_000] {
        let chain = (1..=blocks).map(signalbox_types::BlockHash).collect();
        outbox.put(
            0,
            PlacedPrompt { endpoint: endpoint(0), incarnation: Incarnation(0), chain, known: 0, held: 0 },
        );
    }
    let batches: Vec<usize> = (0..4).map(|_| outbox.take_unsent(512).len()).collect();
    assert_eq!((vec![1, 2, 1, 0], false), (batches, outbox.has_unsent()));
}
