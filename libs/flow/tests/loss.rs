//! What holds of the replicas and the granter together when answers are lost: what was granted goes once, and all goes.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof, proptest};
use proptest::{prop_assert, prop_assert_eq};
use signalbox_flow::{FlowKey, FlowSettings, Grant, Granter, Saturation, WaitingRequest, WaitingRequests};
use signalbox_types::Origin;

const REPLICAS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Arrive {
        replica: usize,
        flow: usize,
    },
    Report(usize),
    /// Grants what there is room for. The answer arrives or is lost.
    Grant {
        requests: u32,
        arrives: bool,
    },
    /// Sends the outstanding grants of one replica.
    Publish(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let replica = 0..REPLICAS;
    let arrive = (replica.clone(), 0..3_usize).prop_map(|(replica, flow)| Step::Arrive { replica, flow });
    let grant = (0..4_u32, any::<bool>()).prop_map(|(requests, arrives)| Step::Grant { requests, arrives });
    vec(
        prop_oneof![
            3 => arrive,
            2 => replica.clone().prop_map(Step::Report),
            2 => grant,
            1 => replica.prop_map(Step::Publish),
        ],
        1..60,
    )
}

/// The replicas, the granter, and how many requests have gone.
#[derive(Default)]
struct World {
    replicas: [WaitingRequests; REPLICAS],
    granter: Granter,
    gone: u32,
}

impl World {
    fn arrive(&mut self, replica: usize, flow: usize) {
        let (priority, id) = [(10, "a"), (0, "a"), (0, "b")][flow];
        let flow = FlowKey { priority, id: id.into() };
        let request = WaitingRequest { flow, tokens: 1, ..WaitingRequest::default() };
        let ticket = self.replicas[replica].enqueue(&FlowSettings::default(), request, Default::default());
        assert!(ticket.is_ok());
    }

    fn report(&mut self, replica: usize) {
        for (flow, backlog) in self.replicas[replica].backlogs(0) {
            self.granter.report(0, Origin(replica as u64), flow, backlog);
        }
    }

    /// Returns grants for as many requests as there is room for.
    fn grant(&mut self, requests: u32) -> Vec<Grant> {
        let per_request = 1.0 / f64::from(1_u32 << 20);
        let value = 1.0 - f64::from(requests) * per_request;
        let room = Saturation {
            value,
            by_prompts: value,
            per_request,
            per_token: 0.0,
            per_request_limit: f64::INFINITY,
        };
        self.granter.grant(&FlowSettings::default(), &room, 0)
    }

    fn receive(&mut self, grants: impl IntoIterator<Item = Grant>) {
        for Grant { flow, origin, up_to } in grants {
            self.gone += self.replicas[origin.0 as usize].grant(&flow, up_to).len() as u32;
        }
    }

    fn publish(&mut self, replica: usize) {
        let grants: Vec<_> =
            self.granter.outstanding_grants().filter(|grant| grant.origin.0 == replica as u64).collect();
        self.receive(grants);
    }
}

proptest! {
    #[test]
    fn granted_requests_go_once_and_none_waits_for_ever(steps in steps()) {
        let (mut world, mut arrived, mut room) = (World::default(), 0, 0);
        for step in steps {
            match step {
                Step::Arrive { replica, flow } => {
                    world.arrive(replica, flow);
                    arrived += 1;
                }
                Step::Report(replica) => world.report(replica),
                Step::Grant { requests, arrives } => {
                    let grants = world.grant(requests);
                    room += requests;
                    if arrives {
                        world.receive(grants);
                    }
                }
                Step::Publish(replica) => world.publish(replica),
            }
            prop_assert!(world.gone <= room, "{} of {}", world.gone, room);
        }
        (0..REPLICAS).for_each(|replica| world.report(replica));
        // The answer with the last grants is lost, too.
        drop(world.grant(1_000));
        (0..REPLICAS).for_each(|replica| world.publish(replica));
        prop_assert_eq!(arrived, world.gone);
    }
}
