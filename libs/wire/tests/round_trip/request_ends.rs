//! The ends of requests that replicas relay to each other.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};
use signalbox_types::{BookingId, ReplicaKey, RequestEnd};
use signalbox_wire::Hello;

use crate::through_bytes;

fn request_end() -> impl Strategy<Value = RequestEnd> {
    let booking = (any::<u64>(), any::<u64>())
        .prop_map(|(replica, number)| BookingId { replica: ReplicaKey(replica), number });
    let served = option::of(any::<([u8; 4], u16)>().prop_map(SocketAddr::from));
    let first_byte = option::of((1..=u64::MAX).prop_map(Duration::from_micros));
    (booking, option::of(1..=u16::MAX), served, first_byte)
        .prop_map(|(booking, status, served, first_byte)| RequestEnd { booking, status, served, first_byte })
}

proptest! {
    #[test]
    fn request_ends_survive_encoding(sent in vec(request_end(), 0..4), name in ".{0,5}") {
        let hello = Hello { pool: None, name };
        let message = through_bytes(&signalbox_wire::encode_request_ends(Some(&hello), &sent));
        prop_assert_eq!(Ok(hello), Hello::read(message.hello.clone()));
        prop_assert_eq!(Ok(sent), signalbox_wire::decode_request_ends(message));
    }
}
