//! Circuits per endpoint and model: what an endpoint refuses, it does not get for a while.

use signalbox_state::{
    Circuit, Feedback, JournaledReplica, Pool, PoolInput, ResponseOutcome, ResponseReport,
};
use signalbox_types::ModelKey;

use crate::feedback::partial_batch;
use crate::fixtures::{catch_up, config, endpoint, pool_of};

const REPLICA: u64 = 999;
const REFUSED: ResponseOutcome = ResponseOutcome::Refused;

/// Sends the outcome of a request for the model called `model` at endpoint 0, each from another replica.
fn send(pool: &mut Pool, now_ms: u64, seq: u64, model: &str, outcome: ResponseOutcome) {
    let responses = vec![ResponseReport { endpoint: endpoint(0), model: ModelKey::of(model), outcome }];
    let batch = Feedback { responses, ..partial_batch(seq, seq, Vec::new(), Vec::new()) };
    pool.handle(now_ms, PoolInput::Feedback(batch));
}

/// Lets time pass for a pool with a replica that could probe.
fn tick(pool: &mut Pool, now_ms: u64) {
    let batch = partial_batch(REPLICA, now_ms, Vec::new(), Vec::new());
    pool.handle(now_ms, PoolInput::Feedback(batch));
    pool.handle(now_ms, PoolInput::Tick);
}

fn circuit(pool: &Pool, model: &str) -> Circuit {
    pool.pool_state().endpoint(endpoint(0)).unwrap().assessment.circuit_of(model)
}

fn refused(model: &str) -> Pool {
    let mut pool = pool_of(2, config());
    (0..5).for_each(|seq| send(&mut pool, 0, seq, model, REFUSED));
    pool
}

#[test]
fn refusals_of_one_model_leave_others_and_the_endpoint_alone() {
    let pool = refused("adapter");
    assert_eq!((Circuit::Open, Circuit::Closed), (circuit(&pool, "adapter"), circuit(&pool, "base")));
    let of = |at| pool.pool_state().endpoint(endpoint(at)).unwrap().assessment.clone();
    assert_eq!(Circuit::Closed, of(0).circuit);
    assert!(of(1).model_circuits.is_empty());
}

#[test]
fn output_between_refusals_keeps_the_circuit_closed() {
    let mut pool = pool_of(1, config());
    for seq in 0..40 {
        let outcome = if seq % 5 == 4 { ResponseOutcome::FirstOutput } else { REFUSED };
        send(&mut pool, 0, seq, "m", outcome);
        assert_eq!(Circuit::Closed, circuit(&pool, "m"));
    }
}

#[test]
fn one_probe_at_a_time_decides_and_the_backoff_doubles_up_to_half_a_minute() {
    let mut pool = refused("m");
    let (mut now_ms, mut seq) = (0, 5);
    for backoff_ms in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        tick(&mut pool, now_ms + backoff_ms - 1);
        assert_eq!(Circuit::Open, circuit(&pool, "m"), "{backoff_ms}");
        now_ms += backoff_ms;
        tick(&mut pool, now_ms);
        assert!(matches!(circuit(&pool, "m"), Circuit::HalfOpen(Some(_))), "{backoff_ms}");
        for outcome in [ResponseOutcome::ProbeSent, REFUSED] {
            send(&mut pool, now_ms, seq, "m", outcome);
            assert_eq!(Circuit::Open, circuit(&pool, "m"), "published at once");
            seq += 1;
        }
    }
    tick(&mut pool, now_ms + 30_000);
    send(&mut pool, now_ms + 30_000, seq, "m", ResponseOutcome::ProbeSent);
    send(&mut pool, now_ms + 30_000, seq + 1, "m", ResponseOutcome::FirstOutput);
    assert_eq!(Circuit::Closed, circuit(&pool, "m"));
}

#[test]
fn a_probe_without_outcome_is_followed_by_another() {
    let mut pool = refused("m");
    tick(&mut pool, 1_000);
    send(&mut pool, 1_000, 5, "m", ResponseOutcome::ProbeSent);
    tick(&mut pool, 10_999);
    assert_eq!(Circuit::Open, circuit(&pool, "m"));
    tick(&mut pool, 11_000);
    assert!(matches!(circuit(&pool, "m"), Circuit::HalfOpen(Some(_))));
}

#[test]
fn at_most_64_models_of_an_endpoint_are_remembered() {
    let mut pool = pool_of(1, config());
    for model in 0..100 {
        (0..5).for_each(|time| send(&mut pool, 0, model * 5 + time, &model.to_string(), REFUSED));
    }
    let published = pool.pool_state().endpoint(endpoint(0)).unwrap().assessment.model_circuits.clone();
    assert_eq!(64, published.len());
    assert_eq!((Circuit::Closed, Circuit::Open), (circuit(&pool, "35"), circuit(&pool, "36")));
}

#[test]
fn replicas_and_the_next_owner_know_the_circuits() {
    let pool = refused("m");
    let mut replica = signalbox_state::StateReplica::default();
    assert!(catch_up(&mut replica, &pool));
    assert_eq!(pool.pool_state().digest(), replica.pool_state().digest());
    let of =
        |state: &signalbox_state::PoolState| state.endpoint(endpoint(0)).unwrap().assessment.circuit_of("m");
    assert_eq!(Circuit::Open, of(replica.pool_state()));
    let handed_over: JournaledReplica = pool.into_replica();
    let mut pool = Pool::inherit(2, config(), handed_over, 500);
    tick(&mut pool, 10_499);
    assert_eq!(Circuit::Open, circuit(&pool, "m"));
    tick(&mut pool, 10_500);
    assert!(matches!(circuit(&pool, "m"), Circuit::HalfOpen(Some(_))));
}
