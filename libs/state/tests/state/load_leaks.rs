//! No load is left in flight, regardless of how requests end and endpoints come and go.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use signalbox_state::{Booking, Bookings, Feedback, GaugeScope, Pool, PoolInput};
use signalbox_types::{EndpointKey, Load, Origin};

use crate::feedback::{full_batch, partial_batch};
use crate::fixtures::random_steps::ENDPOINTS;
use crate::fixtures::{config, endpoint, endpoint_spec, pool_of, pool_spec};

#[derive(Clone, Debug)]
enum Step {
    /// A request is sent. A retry of the same request cannot be recognized, so each attempt is booked.
    Send(usize, u64),
    /// The first chunk of one of the open requests arrives.
    FirstOutput(usize),
    /// One of the open requests ends, or its stream breaks.
    End(usize),
    /// An endpoint leaves the pool or returns to it.
    Flap(usize),
    /// The changed gauges are sent; the flag says whether they arrive.
    SendFeedback(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..ENDPOINTS, 0_u64..100).prop_map(|(at, tokens)| Step::Send(at, tokens)),
        2 => any::<usize>().prop_map(Step::FirstOutput),
        4 => any::<usize>().prop_map(Step::End),
        2 => (0..ENDPOINTS).prop_map(Step::Flap),
        4 => any::<bool>().prop_map(Step::SendFeedback),
    ]
}

struct TestReplica {
    pool: Pool,
    present: [bool; ENDPOINTS],
    bookings: Bookings,
    open: Vec<Booking>,
    seq: u64,
}

impl TestReplica {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send(at, tokens) => self.open.push(self.bookings.reserve(endpoint(at), tokens)),
            Step::FirstOutput(which) => {
                let count = self.open.len().max(1);
                self.open
                    .get_mut(which % count)
                    .into_iter()
                    .for_each(|booking| booking.record_first_output(0));
            }
            Step::End(which) if !self.open.is_empty() => {
                drop(self.open.swap_remove(which % self.open.len()));
            }
            Step::End(_) => {}
            Step::Flap(at) => self.flap(at),
            Step::SendFeedback(arrives) => {
                let gauges = self.bookings.take_changed();
                if arrives {
                    self.send_feedback(GaugeScope::Changed, gauges);
                }
            }
        }
    }

    fn flap(&mut self, at: usize) {
        self.present[at] = !self.present[at];
        let present = self.present;
        let specs = (0..ENDPOINTS).filter(|at| present[*at]).map(|at| endpoint_spec(at, 0));
        self.pool.handle(0, PoolInput::Spec(pool_spec(specs)));
        self.bookings.remove_unused();
    }

    fn send_feedback(&mut self, scope: GaugeScope, gauges: Vec<(EndpointKey, Load)>) {
        self.seq += 1;
        let feedback: Feedback = match scope {
            GaugeScope::Changed => partial_batch(1, self.seq, gauges, Vec::new()),
            GaugeScope::All => full_batch(1, self.seq, gauges, Vec::new()),
        };
        self.pool.handle(0, PoolInput::Feedback(feedback));
    }

    /// Returns the load of this replica in the pool, over all present endpoints.
    fn known(&self) -> Load {
        let loads = self.pool.pool_state().loads().of_origin(Origin(1));
        loads.into_iter().fold(Load::ZERO, |sum, (_, load)| sum + load)
    }
}

proptest! {
    #[test]
    fn no_load_leaks(steps in vec(step(), 1..120)) {
        let mut replica = TestReplica {
            pool: pool_of(ENDPOINTS, config()),
            present: [true; ENDPOINTS],
            bookings: Bookings::new(std::sync::Arc::new(|| {})),
            open: Vec::new(),
            seq: 0,
        };
        for step in &steps {
            replica.step(step);
            let booked: u32 = replica.bookings.loads().iter().map(|(_, load)| load.requests).sum();
            prop_assert_eq!(replica.open.len() as u32, booked);
        }
        replica.open.clear();
        prop_assert!(replica.bookings.loads().is_empty());
        let whole = replica.bookings.loads();
        replica.send_feedback(GaugeScope::All, whole);
        prop_assert_eq!(Load::ZERO, replica.known());
    }
}
