//! The overlay is empty in the end, regardless of what happens to the placements.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use signalbox_prefix::{Lookup, Match};
use signalbox_state::{Outbox, Overlay, PlacedPrompt, Placement, Pool, PoolEffect, PoolInput};
use signalbox_types::{EndpointKey, Incarnation};

use crate::feedback::{full_batch, partial_batch};
use crate::fixtures::random_steps::{ENDPOINTS, Prompt, prompt};
use crate::fixtures::{chain, config, endpoint, pool_of};

const TIMEOUT_MS: u64 = 500;

#[derive(Clone, Debug)]
enum Step {
    Place(usize, Prompt),
    /// Sends up to this number of placements; the flag says whether they and the replies arrive.
    Send(usize, bool),
    Acknowledge,
    Reconnect,
    Wait(u64),
    /// The owner is lost, and an owner without state takes its place.
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

/// A replica and the owner that it sends feedback to.
struct ReplicaAndOwner {
    pool: Pool,
    outbox: Outbox,
    overlay: Overlay,
    now_ms: u64,
    seq: u64,
}

impl ReplicaAndOwner {
    fn new() -> Self {
        let (outbox, overlay) = (Outbox::default(), Overlay::default());
        Self { pool: pool_of(ENDPOINTS, config()), outbox, overlay, now_ms: 0, seq: 0 }
    }

    fn lookup_with_overlay(&self, prompt: &[u8]) -> Lookup {
        let mut lookup = self.pool.pool_state().index_writer().index().lookup(&chain(prompt));
        self.overlay.extend(&chain(prompt), &mut lookup);
        lookup
    }

    fn place(&mut self, at: EndpointKey, prompt: &[u8]) {
        let lookup = self.lookup_with_overlay(prompt);
        let held = lookup.matches.iter().find(|of| of.endpoint == at).map_or(0, |of| of.blocks);
        let placed = PlacedPrompt {
            endpoint: at,
            incarnation: Incarnation(0),
            chain: chain(prompt),
            known: lookup.longest,
            held,
        };
        self.overlay.place(&placed);
        self.outbox.push(self.now_ms, placed);
    }

    fn deliver(&mut self, placements: Vec<Placement>) {
        self.seq += 1;
        let effects =
            self.pool.handle(0, PoolInput::Feedback(partial_batch(1, self.seq, Vec::new(), placements)));
        let requested = effects.iter().filter_map(|effect| match effect {
            PoolEffect::NeedChain(_, number) => self.outbox.whole_chain(*number),
            _ => None,
        });
        let chains: Vec<_> = requested.collect();
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
                self.outbox.acknowledge(number, &self.overlay);
            }
            Step::Reconnect => {
                self.outbox.resend_all();
                self.seq += 1;
                self.pool.handle(0, PoolInput::Feedback(full_batch(1, self.seq, Vec::new(), Vec::new())));
            }
            Step::Wait(passed_ms) => {
                self.now_ms += passed_ms;
                self.outbox.expire(self.now_ms, TIMEOUT_MS, &self.overlay);
            }
            Step::Replace => {
                self.pool = pool_of(ENDPOINTS, config());
                self.outbox.resend_all();
            }
        }
    }
}

proptest! {
    #[test]
    fn overlay_drains_when_everything_arrives(steps in vec(step(), 1..60)) {
        let mut both = ReplicaAndOwner::new();
        for step in &steps {
            both.step(step);
            prop_assert_eq!(both.outbox.len(), both.overlay.len());
        }
        for step in [Step::Reconnect, Step::Send(usize::MAX, true), Step::Acknowledge] {
            both.step(&step);
        }
        prop_assert!(both.outbox.is_empty() && both.overlay.is_empty());
        prop_assert!(has_no_leftovers(&both.overlay, &steps));
    }

    #[test]
    fn overlay_drains_by_timeout_when_nothing_arrives(steps in vec(step(), 1..60)) {
        let mut both = ReplicaAndOwner::new();
        steps.iter().for_each(|step| both.step(step));
        both.step(&Step::Wait(TIMEOUT_MS));
        prop_assert!(both.outbox.is_empty() && both.overlay.is_empty() && !both.outbox.has_unsent());
        prop_assert!(has_no_leftovers(&both.overlay, &steps));
    }

    #[test]
    fn each_placement_is_sent_once_per_stream_and_in_order(limits in vec(1_usize..9, 1..30)) {
        let mut both = ReplicaAndOwner::new();
        let mut sent = Vec::new();
        for limit in limits {
            both.place(endpoint(0), &[0, 1]);
            both.place(endpoint(1), &[1]);
            sent.extend(both.outbox.take_unsent(limit).iter().map(|placement| placement.number));
        }
        let expected: Vec<u64> = (1..=sent.len() as u64).collect();
        prop_assert_eq!(expected, sent);
    }
}

/// Returns whether the overlay extends no match of any prompt in `steps`, wherever the match ends.
fn has_no_leftovers(overlay: &Overlay, steps: &[Step]) -> bool {
    // An unrelated placement: an empty overlay would not be looked at.
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
        let view = Lookup { longest: end, matches: vec![Match::on_device(at, end)] };
        let mut lookup = view.clone();
        overlay.extend(&chain(prompt), &mut lookup);
        lookup == view
    })
}

#[test]
fn own_placement_counts_at_once_and_for_the_next_anchor() {
    let mut both = ReplicaAndOwner::new();
    both.place(endpoint(0), &[0, 1, 2]);
    let held = vec![Match::on_device(endpoint(0), 3)];
    assert_eq!(Lookup { longest: 3, matches: held }, both.lookup_with_overlay(&[0, 1, 2, 2]));
    both.place(endpoint(0), &[0, 1, 2, 2]);
    let sent = both.outbox.take_unsent(9);
    assert_eq!((3, chain(&[0])[0]), (sent[0].suffix.len(), sent[1].anchor));
    both.deliver(sent);
    both.step(&Step::Acknowledge);
    assert_eq!((4, true), (both.lookup_with_overlay(&[0, 1, 2, 2]).longest, both.overlay.is_empty()));
}

#[test]
fn batch_is_bounded_but_a_placement_of_any_size_is_sent() {
    let mut outbox = Outbox::default();
    for blocks in [70_000, 30_000, 30_000, 30_000] {
        let chain = (1..=blocks).map(signalbox_types::BlockHash).collect();
        outbox.push(
            0,
            PlacedPrompt { endpoint: endpoint(0), incarnation: Incarnation(0), chain, known: 0, held: 0 },
        );
    }
    let batches: Vec<usize> = (0..4).map(|_| outbox.take_unsent(512).len()).collect();
    assert_eq!((vec![1, 2, 1, 0], false), (batches, outbox.has_unsent()));
}
