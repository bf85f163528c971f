//! What holds of the replicas and the owner together when batches are lost and owners change: requests that wait go once, and
//! all go.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;
use signalbox_flow::{FlowKey, FlowSettings, Ticket, WaitingRequest, WaitingRequests};
use signalbox_state::{
    Feedback, FlowReport, GaugeScope, JournalBounds, JournaledReplica, Pool, PoolInput, StateReplica,
};
use signalbox_types::{EndpointKey, Load, Origin};

use crate::feedback::full_batch;
use crate::fixtures::state_contents::Contents;
use crate::fixtures::{OWNER, catch_up, config, endpoint, endpoint_spec, pool_of, pool_spec};
use crate::granting;

const REPLICAS: usize = 3;

/// What happens to the replicas and the owner.
#[derive(Clone, Debug)]
enum Step {
    Arrive {
        replica: usize,
        flow: usize,
        tokens: u64,
    },
    Cancel(usize),
    /// The replica sends a batch, which arrives or is lost.
    Report {
        replica: usize,
        scope: GaugeScope,
        arrives: bool,
    },
    /// The replica receives what is granted.
    Receive(usize),
    /// A booked prompt of the replica is processed.
    Process(usize),
    Pass(u64),
    /// A follower takes the pool over.
    Takeover,
    Endpoints(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let replica = || 0..REPLICAS;
    let scope = prop_oneof![2 => Just(GaugeScope::Changed), 1 => Just(GaugeScope::All)];
    vec(
        prop_oneof![
            6 => (replica(), 0..3_usize, 1..600_u64)
                .prop_map(|(replica, flow, tokens)| Step::Arrive { replica, flow, tokens }),
            1 => replica().prop_map(Step::Cancel),
            6 => (replica(), scope, any::<bool>())
                .prop_map(|(replica, scope, arrives)| Step::Report { replica, scope, arrives }),
            4 => replica().prop_map(Step::Receive),
            3 => replica().prop_map(Step::Process),
            3 => (1..60_u64).prop_map(Step::Pass),
            1 => Just(Step::Takeover),
            1 => (0..3_usize).prop_map(Step::Endpoints),
        ],
        1..120,
    )
}

#[derive(Debug, Default)]
struct Replica {
    waiting: WaitingRequests,
    tickets: Vec<Ticket>,
    tokens: BTreeMap<Ticket, u64>,
    booked: Vec<u64>,
    seq: u64,
}

impl Replica {
    fn go(&mut self, grants: &BTreeMap<FlowKey, u64>) -> u64 {
        let mut gone = 0;
        for (flow, up_to) in grants {
            for ticket in self.waiting.grant(flow, *up_to) {
                self.booked.push(self.tokens[&ticket]);
                self.tickets.retain(|of| *of != ticket);
                gone += 1;
            }
        }
        gone
    }

    fn batch(&mut self, origin: u64, scope: GaugeScope) -> Feedback {
        self.seq += 1;
        let tokens = self.booked.iter().sum();
        let requests = self.booked.len() as u32;
        let gauge = Load { requests, prefills: requests, prefill_tokens: tokens };
        let gauges: Vec<(EndpointKey, Load)> = vec![(endpoint(0), gauge)];
        let backlogs = self.waiting.backlogs(0).map(|(flow, backlog)| (flow.clone(), backlog)).collect();
        let flows = FlowReport { backlogs, ..FlowReport::default() };
        Feedback { flows, scope, ..full_batch(origin, self.seq, gauges, Vec::new()) }
    }
}

struct World {
    pool: Pool,
    epoch: u64,
    follower: StateReplica,
    now_ms: u64,
    replicas: [Replica; REPLICAS],
    /// The highest grant that the state has had, per replica and flow.
    granted: BTreeMap<(usize, FlowKey), u64>,
    arrived: u64,
    left: u64,
}

impl World {
    fn new() -> Self {
        Self {
            pool: pool_of(1, config()),
            epoch: 1,
            follower: StateReplica::default(),
            now_ms: 1_000,
            replicas: Default::default(),
            granted: BTreeMap::new(),
            arrived: 0,
            left: 0,
        }
    }

    fn handle(&mut self, input: PoolInput) {
        self.pool.handle(self.now_ms, input);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Arrive { replica, flow, tokens } => self.arrive(replica, flow, tokens),
            Step::Cancel(replica) => {
                let of = &mut self.replicas[replica];
                let Some(ticket) = of.tickets.pop() else { return };
                assert!(of.waiting.cancel(ticket));
                self.left += 1;
            }
            Step::Report { replica, scope, arrives } => {
                let batch = self.replicas[replica].batch(1 + replica as u64, scope);
                if arrives {
                    self.handle(PoolInput::Feedback(batch));
                }
            }
            Step::Receive(replica) => self.receive(replica),
            Step::Process(replica) => drop(self.replicas[replica].booked.pop()),
            Step::Pass(passed_ms) => {
                self.now_ms += passed_ms;
                self.handle(PoolInput::Tick);
            }
            Step::Takeover => self.take_over(),
            Step::Endpoints(count) => {
                let specs = (0..count).map(|index| endpoint_spec(index, 0));
                self.handle(PoolInput::Spec(pool_spec(specs)));
            }
        }
    }

    fn arrive(&mut self, replica: usize, flow: usize, tokens: u64) {
        let request = WaitingRequest { flow: granting::flow(flow), tokens, ..WaitingRequest::default() };
        let of = &mut self.replicas[replica];
        let ticket = of.waiting.enqueue(&FlowSettings::default(), request, Default::default());
        let ticket = ticket.expect("there is room in the queue");
        of.tickets.push(ticket);
        of.tokens.insert(ticket, tokens);
        self.arrived += 1;
    }

    fn receive(&mut self, replica: usize) {
        let grants = granting::grants(&self.pool, 1 + replica as u64);
        self.left += self.replicas[replica].go(&grants);
    }

    fn take_over(&mut self) {
        self.epoch += 1;
        let mut replica = JournaledReplica::new(JournalBounds::default());
        let snapshot = Arc::new(self.pool.snapshot());
        snapshot.frames().for_each(|frame| drop(replica.apply(OWNER, frame)));
        let before = Contents::of(self.pool.pool_state());
        self.pool = Pool::inherit(self.epoch, config(), replica, self.now_ms);
        assert_eq!(before, Contents::of(self.pool.pool_state()));
        self.follower = StateReplica::default();
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        for replica in 0..REPLICAS {
            let known = self.pool.pool_state().flows().origin(Origin(1 + replica as u64));
            for (flow, backlog) in known.into_iter().flat_map(|flows| flows.backlogs()) {
                prop_assert!(backlog.granted >= backlog.released);
                let highest = self.granted.entry((replica, flow.clone())).or_default();
                prop_assert!(
                    backlog.granted >= *highest || backlog.granted == backlog.released,
                    "{:?}: {} after {}",
                    flow,
                    backlog.granted,
                    highest
                );
                *highest = backlog.granted.max(*highest);
            }
        }
        let waits: u64 = self.replicas.iter().map(|of| of.waiting.total().requests).sum();
        prop_assert_eq!(self.arrived, self.left + waits, "a request is lost or doubled");
        catch_up(&mut self.follower, &self.pool);
        prop_assert_eq!(Contents::of(self.pool.pool_state()), Contents::of(self.follower.pool_state()));
        Ok(())
    }

    /// Lets all replicas report and receive until nothing waits.
    fn drain(&mut self) -> bool {
        self.step(&Step::Endpoints(2));
        for _ in 0..400 {
            for replica in 0..REPLICAS {
                self.replicas[replica].booked.clear();
                self.step(&Step::Report { replica, scope: GaugeScope::All, arrives: true });
                self.now_ms += 2;
                self.handle(PoolInput::GrantDue);
                self.receive(replica);
            }
            if self.replicas.iter().all(|of| of.waiting.total().requests == 0) {
                return true;
            }
        }
        false
    }
}

proptest! {
    #[test]
    fn requests_go_once_and_none_waits_for_ever_whatever_is_lost(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(&step);
            world.check()?;
        }
        prop_assert!(world.drain(), "some wait for ever");
        world.check()?;
    }
}
