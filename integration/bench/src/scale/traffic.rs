//! The requests of a scene: mixed lengths, at the times that a profile gives.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_workload::generate::{Lengths, SystemPrompts, lengths};

use super::pod::Pod;
use super::profiles::Profile;
use super::request::{Request, RequestId};

/// Returns requests with the lengths of a cloud's traces, one a second on average.
fn drawn(count: usize, seed: u64) -> Vec<Request> {
    let shape = Lengths { requests: count as u32, system_prompts: SystemPrompts::NONE };
    let items = lengths(&shape, &mut SmallRng::seed_from_u64(seed));
    let request = |item: &signalbox_workload::Item| Request {
        at_s: item.at_us as f64 / 1e6,
        prompt_tokens: item.prompt.tokens(),
        output_tokens: item.output_tokens,
    };
    items.iter().map(request).collect()
}

/// Returns the requests of a profile, where a pod serves `pod_per_second` when it is full.
pub(super) fn requests(profile: &Profile, pod_per_second: f64, seed: u64) -> Vec<Request> {
    // How many requests are sent until each second: a Poisson process of rate 1 is stretched by it.
    let mut sent = vec![0.0];
    for second in 0..profile.seconds {
        let per_second = profile.load(second as f64 + 0.5) * pod_per_second;
        sent.push(sent[second as usize] + per_second);
    }
    let all = sent.last().copied().unwrap_or(0.0);
    let mut second = 0;
    let mut requests = drawn((all + 6.0 * all.sqrt()) as usize, seed);
    requests.retain_mut(|request| {
        while second < profile.seconds as usize && sent[second + 1] <= request.at_s {
            second += 1;
        }
        let Some(next) = sent.get(second + 1) else { return false };
        request.at_s = second as f64 + (request.at_s - sent[second]) / (next - sent[second]);
        true
    });
    requests
}

/// Returns how many requests a pod serves per second when it never runs out of them.
pub(super) fn measure_pod(mut pod: Pod, seed: u64) -> f64 {
    const REQUESTS: usize = 3_000;
    let requests = drawn(REQUESTS, seed);
    for (id, request) in requests.iter().enumerate() {
        pod.push(0.0, RequestId(id), request);
    }
    let mut ended = Vec::new();
    while let Some(at_s) = pod.next_s() {
        let effects = pod.advance(at_s);
        ended.extend(effects.ended.iter().map(|_| at_s));
    }
    // Neither the first ones, while the batch fills, nor the last ones, while it empties.
    let (from, to) = (REQUESTS / 5, REQUESTS * 4 / 5);
    (to - from) as f64 / (ended[to] - ended[from])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::profiles::PROFILES;

    #[test]
    fn requests_follow_the_profile() {
        let step = PROFILES.iter().find(|profile| profile.name == "step").expect("the profile exists");
        let requests = requests(step, 4.0, 1);
        let rate = |from_s: f64, to_s: f64| {
            let within = requests.iter().filter(|of| (from_s..to_s).contains(&of.at_s));
            within.count() as f64 / (to_s - from_s)
        };
        assert!((rate(0.0, 1_200.0) - 20.0).abs() < 1.0, "{}", rate(0.0, 1_200.0));
        assert!((rate(1_200.0, 4_200.0) - 48.0).abs() < 1.0, "{}", rate(1_200.0, 4_200.0));
        assert!(requests.is_sorted_by(|one, other| one.at_s <= other.at_s));
        assert!(requests.last().is_some_and(|last| last.at_s > 7_190.0 && last.at_s < 7_200.0));
    }
}
