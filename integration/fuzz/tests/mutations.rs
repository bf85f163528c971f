//! Runs every target on a thousand inputs or more, the same ones each time.

use signalbox_fuzz::{Mutator, Target};

fn run_inputs(target: Target, times: u32) {
    let seeds = target.seeds().expect("the seeds are in the repository");
    seeds.iter().for_each(|seed| target.run(seed));
    let mut mutator = Mutator::new(seeds, target.dictionary(), 1);
    (0..times).for_each(|_| target.run(&mutator.next_input()));
}

#[test]
fn request_bodies_are_parsed_without_a_bug() {
    run_inputs(Target::RequestBody, 3_000);
}

#[test]
fn responses_are_parsed_without_a_bug() {
    run_inputs(Target::Response, 3_000);
}

#[test]
fn metrics_pages_are_parsed_without_a_bug() {
    run_inputs(Target::MetricsPage, 3_000);
}

#[test]
fn gateway_messages_are_handled_without_a_bug() {
    run_inputs(Target::GatewayMessages, 3_000);
}

#[test]
fn feedback_is_handled_without_a_bug() {
    run_inputs(Target::Feedback, 1_000);
}

#[test]
fn requests_wait_and_go_without_a_bug() {
    run_inputs(Target::FlowControl, 3_000);
}
