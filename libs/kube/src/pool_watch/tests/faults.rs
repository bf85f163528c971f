//! The API server fails.

use std::time::Duration;

use serde_json::json;
use signalbox_actors::BackoffPolicy;

use super::{
    OBJECTIVES, PACE, PODS, POOLS, Pace, Watched, api_with_pool, endpoints, objective, pod, pool, priority,
    until,
};

/// What is watched in these tests, as observers name it.
const RESOURCES: [&str; 4] = ["pods", "inferencepools", "inferenceobjectives", "apis"];

/// All requests that the server answers in these tests.
fn all_requests() -> Vec<String> {
    let all = [PODS, POOLS, OBJECTIVES].map(|path| [format!("list {path}"), format!("watch {path}")]);
    all.into_iter().flatten().chain(["get apis".to_owned()]).collect()
}

fn failed(watched: &Watched, resource: &str) -> bool {
    watched.told.failed.lock().unwrap().contains(resource)
}

#[tokio::test]
async fn what_is_not_permitted_does_not_hold_up_the_rest() {
    let api = api_with_pool().await;
    api.apply(PODS, pod("a", 1));
    api.apply(OBJECTIVES, objective("high", &json!(5)));
    api.apply(POOLS, pool("bad", 80));
    api.fail(&format!("list {OBJECTIVES}"), 403);
    api.fail("create events", 403);
    let mut watched = Watched::start(&api).await;
    watched.until_endpoints(&["llama a-rank-0"]).await;
    assert!(failed(&watched, "inferenceobjectives") && !failed(&watched, "pods"));
    assert_eq!(Some(0), priority(&watched.pools.borrow(), "high"));
    api.fail(&format!("list {OBJECTIVES}"), 0);
    watched.until(|pools| priority(pools, "high") == Some(5)).await;
    // A right that is taken away later leaves what is known.
    api.fail(&format!("watch {PODS}"), 403);
    api.cut();
    until("the watch of pods fails", || failed(&watched, "pods")).await;
    assert_eq!(vec!["llama a-rank-0"], endpoints(&watched.pools.borrow()));
}

#[tokio::test]
async fn refused_pods_pools_and_apis_do_not_make_pools_empty() {
    for (request, resource) in [
        (format!("list {PODS}"), "pods"),
        (format!("list {POOLS}"), "inferencepools"),
        ("get apis".to_owned(), "apis"),
    ] {
        let api = api_with_pool().await;
        api.apply(PODS, pod("a", 1));
        api.fail(&request, 403);
        let mut watched = Watched::start(&api).await;
        until("the refusal is counted", || failed(&watched, resource)).await;
        let asked = api.requests().len();
        until("it is asked again", || api.requests().len() > asked + 10).await;
        assert!(!watched.pools.borrow().is_synced, "{resource}");
        api.fail(&request, 0);
        watched.until_endpoints(&["llama a-rank-0"]).await;
    }
}

#[tokio::test]
async fn a_resource_that_is_missing_for_a_moment_keeps_its_objects() {
    let api = api_with_pool().await;
    api.apply(PODS, pod("a", 1));
    let pace = Pace { gone_after: Duration::from_secs(3_600), ..PACE };
    let mut watched = Watched::start_at(&api, pace).await;
    watched.until_endpoints(&["llama a-rank-0"]).await;
    // While an API server starts, it may answer for a while as if a resource did not exist.
    api.serve("inference.networking.k8s.io/v1", &[]);
    api.cut();
    let is_asked = |request: &String| request == "get apis inference.networking.k8s.io/v1";
    let asked = || api.requests().iter().filter(|request| is_asked(request)).count();
    let before = asked();
    until("it is missing several times", || asked() > before + 4).await;
    assert_eq!(vec!["llama a-rank-0"], endpoints(&watched.pools.borrow()));
    api.serve("inference.networking.k8s.io/v1", &["inferencepools"]);
    api.apply(POOLS, pool("second", 9003));
    watched.until_endpoints(&["llama a-rank-0", "second a-rank-0"]).await;
}

#[tokio::test]
async fn all_watches_continue_at_once_when_the_server_answers_again() {
    let api = api_with_pool().await;
    api.apply(PODS, pod("a", 1));
    let hour = Duration::from_secs(3_600);
    let pace = Pace { retry: BackoffPolicy { base: hour, cap: hour }, ..PACE };
    let mut watched = Watched::start_at(&api, pace).await;
    watched.until_endpoints(&["llama a-rank-0"]).await;
    let all = all_requests();
    all.iter().for_each(|request| api.fail(request, 503));
    api.cut();
    until("all watches fail", || RESOURCES.iter().all(|resource| failed(&watched, resource))).await;
    all.iter().for_each(|request| api.fail(request, 0));
    api.apply(PODS, pod("b", 2));
    api.apply(OBJECTIVES, objective("high", &json!(5)));
    watched.until_endpoints(&["llama a-rank-0", "llama b-rank-0"]).await;
    watched.until(|pools| priority(pools, "high") == Some(5)).await;
}

#[tokio::test]
async fn an_overloaded_server_is_asked_again() {
    let api = api_with_pool().await;
    api.apply(PODS, pod("a", 1));
    for status in [429, 503] {
        api.fail(&format!("list {PODS}"), status);
        api.fail("get apis", status);
        let mut watched = Watched::start(&api).await;
        until("failures are counted", || failed(&watched, "pods") && failed(&watched, "apis")).await;
        assert!(!watched.pools.borrow().is_synced);
        api.fail(&format!("list {PODS}"), 0);
        api.fail("get apis", 0);
        watched.until_endpoints(&["llama a-rank-0"]).await;
    }
}

#[tokio::test]
async fn the_last_known_objects_stay_while_the_server_is_away() {
    let api = api_with_pool().await;
    api.apply(PODS, pod("a", 1));
    api.apply(PODS, pod("b", 2));
    let mut watched = Watched::start(&api).await;
    watched.until_endpoints(&["llama a-rank-0", "llama b-rank-0"]).await;
    let all = all_requests();
    all.iter().for_each(|request| api.fail(request, 500));
    api.cut();
    api.delete(PODS, pod("a", 1));
    until("all watches fail", || RESOURCES.iter().all(|resource| failed(&watched, resource))).await;
    assert_eq!(2, endpoints(&watched.pools.borrow()).len());
    // Then the watch goes on where it was.
    all.iter().for_each(|request| api.fail(request, 0));
    watched.until_endpoints(&["llama b-rank-0"]).await;
}

#[tokio::test]
async fn an_expired_watch_lists_again() {
    let api = api_with_pool().await;
    api.apply(PODS, pod("a", 1));
    api.apply(PODS, pod("b", 2));
    let mut watched = Watched::start(&api).await;
    watched.until_endpoints(&["llama a-rank-0", "llama b-rank-0"]).await;
    // The deletion is never seen on a watch.
    api.delete_silently(PODS, "prod/a");
    api.fail(&format!("watch {PODS}"), 410);
    api.cut();
    watched.until_endpoints(&["llama b-rank-0"]).await;
    api.fail(&format!("watch {PODS}"), 0);
    api.apply(PODS, pod("c", 3));
    watched.until_endpoints(&["llama b-rank-0", "llama c-rank-0"]).await;
}

#[tokio::test]
async fn an_older_history_is_noticed() {
    let api = api_with_pool().await;
    api.apply(PODS, pod("a", 1));
    let mut watched = Watched::start(&api).await;
    watched.until_endpoints(&["llama a-rank-0"]).await;
    api.restore_older_history();
    api.delete_silently(PODS, "prod/a");
    api.cut();
    watched.until_endpoints(&[]).await;
    // Its version is below that of the watch before.
    api.apply(PODS, pod("b", 2));
    watched.until_endpoints(&["llama b-rank-0"]).await;
}

/// A history that was restored while the API server was away can have grown past the versions of the watches.
#[tokio::test]
async fn everything_is_listed_again_when_the_api_server_was_away() {
    let api = api_with_pool().await;
    api.apply(PODS, pod("a", 1));
    let mut watched = Watched::start(&api).await;
    watched.until_endpoints(&["llama a-rank-0"]).await;
    let all = all_requests();
    all.iter().for_each(|request| api.fail(request, 503));
    api.cut();
    let asked = || api.requests().iter().filter(|request| request.starts_with("get apis")).count();
    let before = asked();
    until("it is asked several times in vain", || asked() > before + 3).await;
    api.delete_silently(PODS, "prod/a");
    all.iter().for_each(|request| api.fail(request, 0));
    watched.until_endpoints(&[]).await;
}

#[tokio::test]
async fn a_refusal_that_is_over_soon_is_tried_again_like_any_failure() {
    let (api, hour) = (api_with_pool().await, Duration::from_secs(3_600));
    api.apply(PODS, pod("a", 1));
    let refused = [format!("list {PODS}"), format!("list {OBJECTIVES}"), "get apis".to_owned()];
    refused.iter().for_each(|request| api.fail(request, 403));
    let mut watched =
        Watched::start_at(&api, Pace { refusal_grace: hour, retry_refused: hour, ..PACE }).await;
    until("it is refused", || failed(&watched, "pods") && failed(&watched, "apis")).await;
    refused.iter().for_each(|request| api.fail(request, 0));
    watched.until_endpoints(&["llama a-rank-0"]).await;
}
