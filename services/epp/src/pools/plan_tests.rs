use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

fn wanted(pools: &[(&str, u16, u64)]) -> PlanInput {
    let pool = |(name, port, created_ms): &(&str, u16, u64)| {
        ((*name).to_owned(), WantedPool { port: *port, created_ms: *created_ms })
    };
    PlanInput::Pools(pools.iter().map(pool).collect())
}

fn opened(pool: &str) -> PlanInput {
    PlanInput::Opened(pool.to_owned())
}

fn start(pool: &str) -> PlanEffect {
    PlanEffect::Start(pool.to_owned())
}

fn open(pool: &str, port: u16) -> PlanEffect {
    PlanEffect::OpenPort { pool: pool.to_owned(), port, is_retry: false }
}

fn close(pool: &str) -> PlanEffect {
    PlanEffect::ClosePort(pool.to_owned())
}

/// A plan whose inputs arrive at the same time.
#[derive(Default)]
struct Steps(PortPlan);

impl Steps {
    fn handle(&mut self, input: PlanInput) -> Vec<PlanEffect> {
        self.0.handle(Duration::ZERO, input)
    }
}

#[test]
fn pools_come_and_go_with_their_ports() {
    let mut plan = Steps::default();
    let effects = plan.handle(wanted(&[("a", 1, 0), ("b", 2, 0)]));
    assert_eq!(vec![start("a"), start("b"), open("a", 1), open("b", 2)], effects);
    assert!(plan.handle(opened("a")).is_empty());
    assert!(plan.handle(wanted(&[("a", 1, 0), ("b", 2, 0)])).is_empty(), "an attempt is still running");
    plan.handle(opened("b"));
    assert_eq!(vec![PlanEffect::Stop("a".to_owned())], plan.handle(wanted(&[("b", 2, 0)])));
    assert_eq!(vec![start("a"), open("a", 1)], plan.handle(wanted(&[("a", 1, 9), ("b", 2, 0)])));
}

#[test]
fn moved_pool_keeps_its_port_until_the_new_one_is_open() {
    let mut plan = Steps::default();
    plan.handle(wanted(&[("a", 1, 0)]));
    plan.handle(opened("a"));
    assert_eq!(vec![open("a", 2)], plan.handle(wanted(&[("a", 2, 0)])));
    assert_eq!(vec![PlanEffect::RetirePort("a".to_owned())], plan.handle(opened("a")));
}

#[test]
fn older_pool_gets_the_port() {
    let mut plan = Steps::default();
    plan.handle(wanted(&[("b", 1, 5)]));
    plan.handle(opened("b"));
    let conflict = |pool: &str, holder: &str| PlanEffect::ReportConflict {
        pool: pool.to_owned(),
        port: 1,
        holder: holder.to_owned(),
    };
    let both = || wanted(&[("a", 1, 6), ("b", 1, 5)]);
    assert_eq!(vec![start("a"), conflict("a", "b")], plan.handle(both()));
    assert!(plan.handle(both()).is_empty(), "a conflict is reported once");
    let older = wanted(&[("a", 1, 4), ("b", 1, 5)]);
    assert_eq!(vec![conflict("b", "a"), close("b"), open("a", 1)], plan.handle(older));
    plan.handle(opened("a"));
    let effects = plan.handle(wanted(&[("b", 1, 5)]));
    assert_eq!(vec![PlanEffect::Stop("a".to_owned()), open("b", 1)], effects);
}

#[test]
fn pools_exchange_their_ports() {
    let mut plan = Steps::default();
    plan.handle(wanted(&[("a", 1, 0), ("b", 2, 0)]));
    plan.handle(opened("a"));
    plan.handle(opened("b"));
    let effects = plan.handle(wanted(&[("a", 2, 0), ("b", 1, 0)]));
    assert_eq!(vec![close("a"), close("b"), open("a", 2), open("b", 1)], effects);
}

#[test]
fn port_that_cannot_be_bound_is_tried_again_ever_less_often() {
    let (mut plan, mut now) = (PortPlan::default(), Duration::ZERO);
    plan.handle(now, wanted(&[("a", 1, 0), ("b", 2, 0)]));
    plan.handle(now, opened("b"));
    let mut delays = Vec::new();
    for _ in 0..8 {
        assert!(plan.handle(now, PlanInput::OpenFailed("a".to_owned(), 0.5)).is_empty());
        let due = plan.next_tick().unwrap();
        assert!(plan.handle(due - Duration::from_millis(1), PlanInput::Tick).is_empty());
        let again = PlanEffect::OpenPort { pool: "a".to_owned(), port: 1, is_retry: true };
        assert_eq!(vec![again], plan.handle(due, PlanInput::Tick));
        assert_eq!(None, plan.next_tick());
        delays.push(due - now);
        now = due;
    }
    assert!(delays.is_sorted() && delays[7] <= RETRY.cap && delays[7] > 8 * delays[0], "{delays:?}");
    assert_eq!(vec![open("a", 3)], plan.handle(now, wanted(&[("a", 3, 0), ("b", 2, 0)])));
}

type Wanted = BTreeMap<String, WantedPool>;

fn any_pools() -> impl Strategy<Value = Wanted> {
    let pool = (1..4_u16, 0..3_u64).prop_map(|(port, created_ms)| WantedPool { port, created_ms });
    btree_map(prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(str::to_owned), pool, 0..5)
}

/// The ports of a machine. A retired port stays bound until the next pools arrive.
#[derive(Default)]
struct Machine {
    open: BTreeMap<String, u16>,
    retired: Vec<u16>,
    started: BTreeSet<String>,
}

impl Machine {
    /// Applies an effect and returns what came of it.
    fn apply(&mut self, effect: PlanEffect, moved: &mut BTreeMap<String, u16>) -> Option<PlanInput> {
        match effect {
            PlanEffect::Start(pool) => assert!(self.started.insert(pool)),
            PlanEffect::Stop(pool) => {
                assert!(self.started.remove(&pool));
                self.retired.extend(self.open.remove(&pool));
            }
            PlanEffect::OpenPort { pool, port, .. } => {
                assert!(self.started.contains(&pool));
                if self.open.values().any(|open| *open == port) || self.retired.contains(&port) {
                    return Some(PlanInput::OpenFailed(pool, 0.0));
                }
                moved.extend(self.open.insert(pool.clone(), port).map(|before| (pool.clone(), before)));
                return Some(PlanInput::Opened(pool));
            }
            PlanEffect::RetirePort(pool) => self.retired.push(moved.remove(&pool).unwrap()),
            PlanEffect::ClosePort(pool) => drop(self.open.remove(&pool).unwrap()),
            PlanEffect::ReportConflict { .. } => {}
        }
        None
    }
}

proptest! {
    #[test]
    fn oldest_pool_that_wants_a_port_gets_it(steps in vec(any_pools(), 1..12)) {
        let (mut plan, mut machine, mut now) = (PortPlan::default(), Machine::default(), Duration::ZERO);
        for pools in steps {
            machine.retired.clear();
            let mut inputs = vec![PlanInput::Pools(pools.clone())];
            for _ in 0..100 {
                let mut moved = BTreeMap::new();
                while let Some(input) = inputs.pop() {
                    for effect in plan.handle(now, input) {
                        inputs.extend(machine.apply(effect, &mut moved));
                    }
                }
                let Some(due) = plan.next_tick() else { break };
                // Retired ports are closed at last.
                machine.retired.clear();
                now = due;
                inputs.push(PlanInput::Tick);
            }
            prop_assert_eq!(None, plan.next_tick());
            let mut oldest: BTreeMap<u16, (u64, &String)> = BTreeMap::new();
            for (name, WantedPool { port, created_ms }) in &pools {
                let claim = (*created_ms, name);
                let holder = oldest.entry(*port).or_insert(claim);
                *holder = claim.min(*holder);
            }
            let expected: BTreeMap<String, u16> =
                oldest.into_iter().map(|(port, (_, name))| (name.clone(), port)).collect();
            prop_assert_eq!(&expected, &machine.open);
            prop_assert!(machine.started.iter().eq(pools.keys()));
        }
    }
}
