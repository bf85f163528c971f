use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn address(text: &str) -> PeerAddress {
    format!("{text}:9200").parse().unwrap()
}

fn pool(name: &str) -> PoolId {
    PoolId { namespace: "default".to_owned(), name: name.to_owned() }
}

/// The state of a synced aggregator that lists pools with their ports, and knows aggregators.
fn state(pools: &[(&str, u16)], aggregators: &[&str]) -> FleetState {
    let served = |(name, port): &(&str, u16)| (pool(name), ServedPool { port: Some(*port), created_ms: 1 });
    let aggregators = aggregators.iter().map(|name| address(name)).collect();
    FleetState { is_synced: true, pools: pools.iter().map(served).collect(), aggregators }
}

fn received(from: &str, state: FleetState) -> FleetInput {
    FleetInput::Received(address(from), state)
}

fn merger(inputs: impl IntoIterator<Item = FleetInput>) -> FleetMerger {
    let mut merger = FleetMerger::new(vec![address("given")]);
    inputs.into_iter().for_each(|input| merger.handle(input));
    merger
}

fn ports(merger: &FleetMerger) -> Vec<(&str, Option<u16>)> {
    merger.fleet().pools.iter().map(|(pool, served)| (pool.name.as_str(), served.port)).collect()
}

fn aggregators(merger: &FleetMerger) -> Vec<&str> {
    merger.fleet().aggregators.iter().map(PeerAddress::host).collect()
}

#[test]
fn pool_exists_while_any_synced_aggregator_lists_it() {
    let unsynced = FleetState { is_synced: false, ..state(&[("x", 9)], &["c"]) };
    let mut merger = merger([
        received("a", state(&[("p", 1)], &["a"])),
        received("b", state(&[("p", 1), ("q", 2)], &["b"])),
        received("c", unsynced),
    ]);
    assert_eq!(vec![("p", Some(1)), ("q", Some(2))], ports(&merger));
    merger.handle(received("b", state(&[("p", 1)], &["b"])));
    assert_eq!(vec![("p", Some(1))], ports(&merger));
    merger.handle(received("a", state(&[], &["a"])));
    merger.handle(FleetInput::Ended(address("b")));
    assert_eq!(0, ports(&merger).len());
}

#[test]
fn last_state_stays_without_a_connected_synced_aggregator() {
    let mut merger = merger([]);
    assert_eq!(&Fleet::default(), merger.fleet());
    merger.handle(received("a", state(&[("p", 1)], &["a", "b"])));
    merger.handle(FleetInput::Ended(address("a")));
    assert_eq!(vec![("p", Some(1))], ports(&merger));
    assert_eq!(vec!["a", "b"], aggregators(&merger));
    merger.handle(received("a", FleetState { is_synced: false, ..state(&[], &["a"]) }));
    assert_eq!(vec![("p", Some(1))], ports(&merger), "an aggregator that restarted knows no pool yet");
    assert!(merger.fleet().is_synced);
}

#[test]
fn last_change_counts_where_aggregators_disagree() {
    let inputs = ["a", "b"].map(|name| received(name, state(&[("p", 1)], &[name])));
    let mut merger = merger(inputs);
    merger.handle(received("b", state(&[("p", 2)], &["b"])));
    assert_eq!(vec![("p", Some(2))], ports(&merger));
    merger.handle(received("a", state(&[("p", 1)], &["a"])));
    assert_eq!(vec![("p", Some(2))], ports(&merger), "a repeated state is no change");
    merger.handle(received("a", state(&[("p", 3)], &["a"])));
    assert_eq!(vec![("p", Some(3))], ports(&merger));
    let mut again = state(&[("p", 4)], &["b"]);
    again.pools.values_mut().for_each(|served| served.created_ms = 2);
    merger.handle(received("b", again));
    merger.handle(received("a", state(&[("p", 5)], &["a"])));
    assert_eq!(vec![("p", Some(4))], ports(&merger), "the pool that was created later is the current one");
}

#[test]
fn each_aggregator_has_one_address() {
    let mut merger = merger([
        received("10.0.0.1", state(&[], &["a", "b"])),
        received("a", state(&[], &["a", "b"])),
        received("b", state(&[], &["b", "a", "c"])),
    ]);
    assert_eq!(vec!["10.0.0.1", "b", "c"], aggregators(&merger));
    merger.handle(FleetInput::Ended(address("10.0.0.1")));
    assert_eq!(vec!["a", "b", "c"], aggregators(&merger));
    let targets: Vec<_> = merger.targets().iter().map(|address| address.host().to_owned()).collect();
    assert_eq!(vec!["a", "b", "c", "given"], targets);
}

fn input() -> impl Strategy<Value = FleetInput> {
    let names = || prop::sample::select(vec!["a", "b", "c"]);
    let pools = vec((prop::sample::select(vec!["p", "q"]), 1..3_u16), 0..3);
    let received = (names(), any::<bool>(), pools, vec(names(), 0..3)).prop_map(
        |(from, is_synced, pools, mut named)| {
            named.insert(0, from);
            received(from, FleetState { is_synced, ..state(&pools, &named) })
        },
    );
    prop_oneof![3 => received, 1 => names().prop_map(|name| FleetInput::Ended(address(name)))]
}

proptest! {
    #[test]
    fn fleet_is_the_union_of_what_connected_aggregators_list(inputs in vec(input(), 0..40)) {
        let mut last: BTreeMap<PeerAddress, FleetState> = BTreeMap::new();
        let mut merger = merger([]);
        for input in inputs {
            merger.handle(input.clone());
            match input {
                FleetInput::Received(from, state) => drop(last.insert(from, state)),
                FleetInput::Ended(from) => drop(last.remove(&from)),
                FleetInput::Given(_) => {}
            }
            let synced: Vec<_> = last.values().filter(|state| state.is_synced).collect();
            if !synced.is_empty() {
                let listed: BTreeSet<_> = synced.iter().flat_map(|state| state.pools.keys()).collect();
                prop_assert_eq!(listed, merger.fleet().pools.keys().collect::<BTreeSet<_>>());
                let is_listed = |(pool, served): (&PoolId, &ServedPool)| synced.iter().any(|state| state.pools.get(pool) == Some(served));
                prop_assert!(merger.fleet().pools.iter().all(is_listed));
            }
            if !last.is_empty() {
                let named: BTreeSet<_> = last.values().flat_map(|state| state.aggregators.clone()).collect();
                prop_assert_eq!(named.into_iter().collect::<Vec<_>>(), merger.fleet().aggregators.clone());
            }
        }
    }
}
