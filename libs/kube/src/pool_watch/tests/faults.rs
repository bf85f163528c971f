//! The API server fails.

use serde_json::json;

use super::{
    OBJECTIVES, PODS, POOLS, Watched, api_with_pool, endpoints, objective, pod, pool, priority, until,
};

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
    let all = [PODS, POOLS, OBJECTIVES].map(|path| [format!("list {path}"), format!("watch {path}")]);
    let all: Vec<_> = all.into_iter().flatten().chain(["get apis".to_owned()]).collect();
    all.iter().for_each(|request| api.fail(request, 500));
    api.cut();
    api.delete(PODS, pod("a", 1));
    until("all watches fail", || {
        ["pods", "inferencepools", "inferenceobjectives", "apis"]
            .iter()
            .all(|resource| failed(&watched, resource))
    })
    .await;
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
