//! The arithmetic as the controller's own tests and documentation have it.

use super::*;

const AT_ONCE: Rules =
    Rules { window_s: 0.0, policies: &[Policy::Percent { value: 10_000, period_s: 15.0 }] };
const DEFAULT: Behavior = Behavior {
    tolerance: 0.1,
    up: Rules {
        window_s: 0.0,
        policies: &[
            Policy::Percent { value: 100, period_s: 15.0 },
            Policy::Pods { value: 4, period_s: 15.0 },
        ],
    },
    down: Rules { window_s: 300.0, policies: &[Policy::Percent { value: 100, period_s: 15.0 }] },
};

fn average(value: f64, target: f64) -> Result<Average, Unknown> {
    Ok(Average { value, target })
}

fn once(current: u32, metrics: &[Result<Average, Unknown>], behavior: Behavior) -> u32 {
    Hpa::new(behavior, 1, 100).sync(0.0, current, metrics)
}

#[test]
fn average_is_divided_by_the_target_and_rounded_up() {
    let behavior = Behavior { tolerance: 0.1, up: AT_ONCE, down: AT_ONCE };
    assert_eq!(4, once(3, &[average(8.6, 2.1504)], behavior));
    assert_eq!(7, once(3, &[average(100.0, 16.0)], behavior));
    // 0.9 and 1.1 are within the tolerance: ratios that differ by no more than a tenth change nothing.
    assert_eq!(10, once(10, &[average(9.0, 1.0)], behavior));
    assert_eq!(11, once(11, &[average(12.0, 1.0)], behavior));
    assert_eq!(11, once(10, &[average(11.0, 1.0)], Behavior { tolerance: 0.0, ..behavior }));
    assert_eq!(1, once(3, &[average(0.0, 1.0)], behavior));
}

#[test]
fn highest_metric_wins_and_an_unknown_one_only_lets_it_rise() {
    let behavior = Behavior { tolerance: 0.1, up: AT_ONCE, down: AT_ONCE };
    assert_eq!(8, once(4, &[average(2.0, 1.0), average(128.0, 16.0)], behavior));
    assert_eq!(8, once(4, &[Err(Unknown), average(8.0, 1.0)], behavior));
    assert_eq!(4, once(4, &[Err(Unknown), average(2.0, 1.0)], behavior));
    assert_eq!(4, once(4, &[Err(Unknown)], behavior));
}

#[test]
fn default_behavior_doubles_or_adds_four_per_period() {
    let mut hpa = Hpa::new(DEFAULT, 1, 100);
    let mut replicas = 1;
    let mut seen = Vec::new();
    for period in 0..5 {
        // Within the same period nothing more is allowed.
        replicas = hpa.sync(f64::from(period) * 15.0, replicas, &[average(60.0, 1.0)]);
        replicas = hpa.sync(f64::from(period) * 15.0 + 1.0, replicas, &[average(60.0, 1.0)]);
        seen.push(replicas);
    }
    assert_eq!(vec![5, 10, 20, 40, 60], seen);
}

#[test]
fn going_down_waits_for_the_highest_of_the_window() {
    let mut hpa = Hpa::new(DEFAULT, 1, 100);
    assert_eq!(10, hpa.sync(0.0, 10, &[average(10.0, 1.0)]));
    assert_eq!(10, hpa.sync(150.0, 10, &[average(2.0, 1.0)]));
    assert_eq!(10, hpa.sync(299.0, 10, &[average(2.0, 1.0)]));
    assert_eq!(2, hpa.sync(301.0, 10, &[average(2.0, 1.0)]));
}

#[test]
fn going_up_waits_for_the_lowest_of_the_window() {
    let up = Rules { window_s: 30.0, ..AT_ONCE };
    let mut hpa = Hpa::new(Behavior { tolerance: 0.1, up, down: AT_ONCE }, 1, 100);
    assert_eq!(3, hpa.sync(0.0, 3, &[average(3.0, 1.0)]));
    assert_eq!(3, hpa.sync(15.0, 3, &[average(9.0, 1.0)]));
    assert_eq!(8, hpa.sync(31.0, 3, &[average(8.0, 1.0)]));
}

#[test]
fn pods_go_one_by_one_where_a_policy_says_so() {
    let down = Rules { window_s: 0.0, policies: &[Policy::Pods { value: 1, period_s: 60.0 }] };
    let mut hpa = Hpa::new(Behavior { tolerance: 0.0, up: AT_ONCE, down }, 1, 100);
    assert_eq!(4, hpa.sync(0.0, 5, &[average(1.0, 1.0)]));
    assert_eq!(4, hpa.sync(45.0, 4, &[average(1.0, 1.0)]));
    assert_eq!(3, hpa.sync(60.0, 4, &[average(1.0, 1.0)]));
}

#[test]
fn bounds_hold() {
    let behavior = Behavior { tolerance: 0.1, up: AT_ONCE, down: AT_ONCE };
    assert_eq!(6, Hpa::new(behavior, 2, 6).sync(0.0, 3, &[average(50.0, 1.0)]));
    assert_eq!(2, Hpa::new(behavior, 2, 6).sync(0.0, 3, &[average(0.0, 1.0)]));
}
