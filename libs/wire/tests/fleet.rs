//! The fleet state survives encoding to bytes, and invalid parts are rejected.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{any, prop_assert_eq, proptest};
use prost::Message;
use signalbox_protos::signalbox::v1 as pb;
use signalbox_types::PoolId;
use signalbox_wire::{FleetState, ServedPool, WireError, decode_fleet_state, encode_fleet_state};

proptest! {
    #[test]
    fn fleet_state_survives_encoding(
        is_synced in any::<bool>(),
        pools in btree_map(("[a-z]{1,3}", "[a-z]{1,3}"), (option::of(1..=u16::MAX), any::<u64>()), 0..4),
        hosts in vec("[a-z]{1,3}", 0..3),
    ) {
        let pool = |((namespace, name), (port, created_ms))| (PoolId { namespace, name }, ServedPool { port, created_ms });
        let aggregators = hosts.iter().map(|host| format!("{host}:9200").parse().unwrap());
        let sent = FleetState { is_synced, pools: pools.into_iter().map(pool).collect(), aggregators: aggregators.collect() };
        let bytes = encode_fleet_state(&sent).encode_to_vec();
        prop_assert_eq!(Ok(sent), decode_fleet_state(pb::FleetState::decode(bytes.as_slice()).unwrap()));
    }
}

#[test]
fn invalid_names_ports_and_addresses_are_rejected() {
    let pool = |pool: &str, port| pb::FleetState {
        pools: vec![pb::ServedPool { pool: pool.to_owned(), port, created_ms: 0 }],
        ..pb::FleetState::default()
    };
    for name in ["", "a", "/a", "a/", "a/b/c"] {
        assert_eq!(Err(WireError::PoolName(name.to_owned())), decode_fleet_state(pool(name, 1)));
    }
    assert_eq!(Err(WireError::Bounds("port")), decode_fleet_state(pool("a/b", 70_000)));
    let aggregators = vec!["nowhere".to_owned()];
    let state = pb::FleetState { aggregators, ..pb::FleetState::default() };
    assert_eq!(Err(WireError::PeerAddress("nowhere".to_owned())), decode_fleet_state(state));
}
