//! However requests end and endpoints come and go, no work is left in flight that is none.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use signalbox_state::{Booking, Bookings, Feedback, GaugeScope, Pool, PoolInput};
use signalbox_types::{EndpointKey, Load, Origin};

use crate::feedback::{batch, changed};
use crate::support::steps::ENDPOINTS;
use crate::support::{config, endpoint, endpoint_spec, pool_of, pool_spec};

#[derive(Clone, Debug)]
enum Step {
    /// A request is sent. The same request may be sent again: nothing tells the two apart, and each is booked.
    Send(usize, u64),
    /// The first chunk of one of the open requests comes.
    ResponseReport(usize),
    /// One of the open requests ends, or its stream breaks off.
    End(usize),
    /// An endpoint leaves the pool, or comes back to it.
    Flap(usize),
    /// The gauges that changed are told; whether that arrives.
    Tell(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..ENDPOINTS, 0_u64..100).prop_map(|(at, tokens)| Step::Send(at, tokens)),
        2 => any::<usize>().prop_map(Step::ResponseReport),
        4 => any::<usize>().prop_map(Step::End),
        2 => (0..ENDPOINTS).prop_map(Step::Flap),
        4 => any::<bool>().prop_map(Step::Tell),
    ]
}

struct StateReplica {
    pool: Pool,
    present: [bool; ENDPOINTS],
    bookings: Bookings,
    open: Vec<Booking>,
    seq: u64,
}

impl StateReplica {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send(at, tokens) => self.open.push(self.bookings.reserve(endpoint(at), tokens)),
            Step::ResponseReport(which) => {
                let count = self.open.len().max(1);
                self.open.get_mut(which % count).into_iter().for_each(|booking| booking.prefilled(0));
            }
            Step::End(which) if !self.open.is_empty() => {
                drop(self.open.swap_remove(which % self.open.len()));
            }
            Step::End(_) => {}
            Step::Flap(at) => self.flap(at),
            Step::Tell(arrives) => {
                let gauges = self.bookings.take_changed();
                if arrives {
                    self.tell(GaugeScope::Changed, gauges);
                }
            }
        }
    }

    fn flap(&mut self, at: usize) {
        self.present[at] = !self.present[at];
        let present = self.present;
        let specs = (0..ENDPOINTS).filter(|at| present[*at]).map(|at| endpoint_spec(at, 0));
        self.pool.fold(0, PoolInput::Spec(pool_spec(specs)));
        self.bookings.retain(|key| (0..ENDPOINTS).any(|at| present[at] && endpoint(at) == key));
    }

    fn tell(&mut self, scope: GaugeScope, gauges: Vec<(EndpointKey, Load)>) {
        self.seq += 1;
        let feedback: Feedback = match scope {
            GaugeScope::Changed => changed(1, self.seq, gauges, Vec::new()),
            GaugeScope::Whole => batch(1, self.seq, gauges, Vec::new()),
        };
        self.pool.fold(0, PoolInput::Feedback(feedback));
    }

    /// What the pool holds of this replica's work, of endpoints that are there.
    fn known(&self) -> Load {
        let loads = self.pool.pool_state().endpoints().map(|member| member.load_of(Origin(1)));
        loads.fold(Load::ZERO, |sum, load| sum + load)
    }
}

proptest! {
    #[test]
    fn no_load_is_left_behind(steps in vec(step(), 1..120)) {
        let mut replica = StateReplica {
            pool: pool_of(ENDPOINTS, config()),
            present: [true; ENDPOINTS],
            bookings: Bookings::new(std::sync::Arc::new(|| {})),
            open: Vec::new(),
            seq: 0,
        };
        for step in &steps {
            replica.step(step);
            let booked: u32 = replica.bookings.whole().iter().map(|(_, load)| load.requests).sum();
            prop_assert_eq!(replica.open.len() as u32, booked);
        }
        replica.open.clear();
        prop_assert!(replica.bookings.whole().is_empty());
        let whole = replica.bookings.whole();
        replica.tell(GaugeScope::Whole, whole);
        prop_assert_eq!(Load::ZERO, replica.known());
    }
}
