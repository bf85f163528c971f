//! The messages between a follower and the aggregators that it follows.

use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use signalbox_state::{Cursor, FromAggregator, FromFollower, HeardOwner};
use signalbox_wire::Hello;

use crate::frames::frame;
use crate::through_bytes;
use crate::values::version;

fn from_follower() -> impl Strategy<Value = FromFollower> {
    let heard = prop_oneof![
        Just(HeardOwner::Unknown),
        Just(HeardOwner::Nobody),
        (1..=u64::MAX).prop_map(HeardOwner::Epoch),
    ];
    let cursor = (version(), any::<u64>(), heard, any::<u64>(), version()).prop_map(
        |(version, epoch, heard, provisional_since, diverged_at)| {
            let epoch = epoch.max(version.map_or(0, |version| version.epoch));
            FromFollower::Cursor(Cursor { version, epoch, heard, provisional_since, diverged_at })
        },
    );
    prop_oneof![cursor, frame().prop_map(FromFollower::FetchReply)]
}

fn from_aggregator() -> impl Strategy<Value = FromAggregator> {
    prop_oneof![
        frame().prop_map(FromAggregator::Frame),
        any::<u64>().prop_map(|epoch| FromAggregator::NotOwner { epoch }),
        version().prop_map(|after| FromAggregator::FetchRequest { after }),
    ]
}

proptest! {
    #[test]
    fn follower_messages_survive_encoding(sent in from_follower(), name in ".{0,5}") {
        let hello = Hello { pool: Some("default/pool".to_owned()), name };
        let message = through_bytes(&signalbox_wire::encode_follower_message(Some(&hello), sent.clone()));
        prop_assert_eq!(Ok(hello), Hello::read(message.hello.clone()));
        prop_assert_eq!(Ok(sent), signalbox_wire::decode_follower_message(message));
    }

    #[test]
    fn aggregator_messages_survive_encoding(sent in from_aggregator(), name in ".{0,5}") {
        let hello = Hello { pool: None, name };
        let message = through_bytes(&signalbox_wire::encode_aggregator_message(Some(&hello), &sent));
        prop_assert_eq!(Ok(hello), Hello::read(message.hello.clone()));
        prop_assert_eq!(Ok(sent), signalbox_wire::decode_aggregator_message(message));
    }
}
