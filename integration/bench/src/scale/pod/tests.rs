//! The coarse pod against the engine that steps through its passes.

use std::sync::Arc;

use signalbox_modelsim::engine::{Arrival, Effect, Engine, Input};
use signalbox_modelsim::profiles;

use super::*;
use crate::scale::profiles::PROFILES;
use crate::scale::traffic::{measure_pod, requests};

fn model() -> &'static ModelConfig {
    &profiles::find("l40s-8b").expect("the profile is among those of modelsim").model
}

/// Returns the mean time to the first token and to the end of `sent` at a coarse pod.
fn coarse(sent: &[Request]) -> (f64, f64) {
    let mut pod = Pod::new(model(), 0.0);
    let (mut first_s, mut end_s) = (0.0, 0.0);
    let mut next = sent.iter().enumerate().peekable();
    loop {
        let arrival = next.peek().map(|(_, request)| request.at_s);
        let own = pod.next_s().filter(|own| arrival.is_none_or(|arrival| *own <= arrival));
        if let Some(now_s) = own {
            let effects = pod.advance(now_s);
            first_s += effects.first.iter().map(|id| now_s - sent[id.0].at_s).sum::<f64>();
            end_s += effects.ended.iter().map(|id| now_s - sent[id.0].at_s).sum::<f64>();
        } else if let Some((at, request)) = next.next() {
            pod.push(request.at_s, RequestId(at), request);
        } else {
            return (first_s / sent.len() as f64, end_s / sent.len() as f64);
        }
    }
}

/// Returns the same of the engine.
fn stepped(sent: &[Request]) -> (f64, f64) {
    let mut engine = Engine::new(model().clone()).expect("the profile is valid");
    let (mut first_s, mut end_s) = (0.0, 0.0);
    let mut next = sent.iter().enumerate().peekable();
    let mut effects = Vec::new();
    loop {
        let arrival_us = next.peek().map(|(_, request)| (request.at_s * 1e6) as u64);
        let own = engine.next_wakeup_us().filter(|own| arrival_us.is_none_or(|arrival| *own <= arrival));
        if let Some(now_us) = own {
            engine.step(now_us, Input::Tick, &mut effects);
        } else if let Some((at, request)) = next.next() {
            let now_us = (request.at_s * 1e6) as u64;
            engine.step(now_us, Input::Arrive(arrival(at, request)), &mut effects);
        } else {
            return (first_s / sent.len() as f64, end_s / sent.len() as f64);
        }
        for effect in effects.drain(..) {
            let after = |id: u64, at_us: u64| at_us as f64 / 1e6 - sent[id as usize].at_s;
            match effect {
                Effect::FirstToken { id, at_us, .. } => first_s += after(id, at_us),
                Effect::Finished { id, at_us, .. } => end_s += after(id, at_us),
                _ => {}
            }
        }
    }
}

fn arrival(at: usize, request: &Request) -> Arrival {
    let blocks = request.prompt_tokens.div_ceil(model().block_size_tokens);
    let chain: Arc<[u64]> = (0..blocks).map(|block| ((at as u64) << 32) | u64::from(block)).collect();
    Arrival {
        id: at as u64,
        chain,
        adapter: None,
        prompt_tokens: request.prompt_tokens,
        max_output_tokens: Some(request.output_tokens),
    }
}

/// Returns the first ten minutes of a steady load, in parts of what the pod can serve.
fn steady(load: f64) -> Vec<Request> {
    let per_second = measure_pod(Pod::new(model(), 0.0), 1);
    let mut sent = requests(&PROFILES[0], per_second * load / PROFILES[0].load(0.0), 1);
    sent.truncate((per_second * load * 600.0) as usize);
    sent
}

#[test]
fn coarse_pod_is_as_fast_as_the_engine() {
    for load in [0.3, 0.6, 0.85] {
        let sent = steady(load);
        let ((first, end), (engine_first, engine_end)) = (coarse(&sent), stepped(&sent));
        assert!((first / engine_first - 1.0).abs() < 0.2, "first token at {load}: {first} {engine_first}");
        assert!((end / engine_end - 1.0).abs() < 0.2, "end at {load}: {end} {engine_end}");
    }
}

#[test]
fn requests_wait_for_room_in_the_cache() {
    let mut pod = Pod::new(model(), 0.0);
    let request = Request { at_s: 0.0, prompt_tokens: 60_000, output_tokens: 2_000 };
    (0..4).for_each(|at| pod.push(0.0, RequestId(at), &request));
    let mut order = Vec::new();
    while let Some(now_s) = pod.next_s() {
        let effects = pod.advance(now_s);
        assert!(pod.kv_use() <= 1.0);
        order.extend(effects.first.iter().map(|id| ("first", id.0)));
        order.extend(effects.ended.iter().map(|id| ("ended", id.0)));
    }
    let at = |what| order.iter().position(|of| *of == what).expect("it happened");
    assert!(at(("first", 3)) > at(("ended", 0)), "{order:?}");
    assert_eq!((8, 0, 0.0), (order.len(), pod.in_flight(), pod.kv_tokens()));
}
