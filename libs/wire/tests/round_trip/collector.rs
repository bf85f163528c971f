//! Reports of collectors, and their assignments.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};
use signalbox_state::{AssignedEndpoint, DecodeObservation, Report, Update};
use signalbox_types::{Generation, Incarnation};

use crate::through_bytes;
use crate::values::{adapters, capacity, gauges, key, scrape_status, spec, work};

fn decode() -> impl Strategy<Value = DecodeObservation> {
    any::<[u32; 2]>()
        .prop_map(|[inter_token_us, running_milli]| DecodeObservation { inter_token_us, running_milli })
}

fn report() -> impl Strategy<Value = Report> {
    let update = (
        any::<u64>(),
        scrape_status(),
        option::of(gauges()),
        option::of(capacity()),
        option::of(adapters()),
        option::of(decode()),
        option::of(work()),
        any::<Option<bool>>(),
    )
        .prop_map(|(incarnation, scrape_status, gauges, capacity, adapters, decode, work, is_asleep)| {
            Update {
                incarnation: Incarnation(incarnation),
                scrape_status,
                gauges,
                capacity,
                adapters,
                decode,
                work,
                is_asleep,
            }
        });
    (key(), any::<[u64; 2]>(), update).prop_map(|(endpoint, [generation, age_ms], update)| Report {
        endpoint,
        generation: Generation(generation),
        age_ms,
        update,
    })
}

fn assigned() -> impl Strategy<Value = AssignedEndpoint> {
    (key(), any::<u64>(), spec()).prop_map(|(endpoint, generation, spec)| AssignedEndpoint {
        endpoint,
        generation: Generation(generation),
        name: spec.name.clone(),
        metrics_url: spec.metrics_url.clone(),
        engine: spec.engine.clone(),
        metrics_tls: spec.metrics_tls,
    })
}

proptest! {
    #[test]
    fn reports_survive_encoding(epoch in any::<u64>(), name in ".{0,5}", sent in vec(report(), 0..4)) {
        let message = through_bytes(&signalbox_wire::encode_reports(None, epoch, &name, sent.clone()));
        prop_assert_eq!((epoch, &name), (message.epoch, &message.collector));
        prop_assert_eq!(Ok(sent), signalbox_wire::decode_reports(message));
    }

    #[test]
    fn assignments_survive_encoding(epoch in any::<u64>(), sent in vec(assigned(), 0..4)) {
        let message = through_bytes(&signalbox_wire::encode_assignment(epoch, sent.clone()));
        prop_assert_eq!((epoch, Ok(sent)), (message.epoch, signalbox_wire::decode_assignment(message)));
    }
}
