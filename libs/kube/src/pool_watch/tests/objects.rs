//! Objects come, change and go.

use serde_json::json;

use super::{
    OBJECTIVES, PODS, POOLS, Watched, api_with_pool, endpoints, fake_api::FakeApi, objective, pod, pool,
    priority, until,
};

#[tokio::test]
async fn pools_follow_their_pods_and_objects() {
    let api = api_with_pool().await;
    api.apply(PODS, pod("a", 1));
    api.apply(OBJECTIVES, objective("high", &json!(5)));
    let mut watched = Watched::start(&api).await;
    watched.until_endpoints(&["llama a-rank-0"]).await;
    assert_eq!(Some(5), priority(&watched.pools.borrow(), "high"));
    api.apply(PODS, pod("b", 2));
    watched.until_endpoints(&["llama a-rank-0", "llama b-rank-0"]).await;
    let mut deleted = pod("a", 1);
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-31T13:00:00Z");
    api.apply(PODS, deleted.clone());
    watched.until_endpoints(&["llama a-rank-0*", "llama b-rank-0"]).await;
    api.delete(PODS, deleted);
    watched.until_endpoints(&["llama b-rank-0"]).await;
    api.apply(OBJECTIVES, objective("high", &json!(6)));
    watched.until(|pools| priority(pools, "high") == Some(6)).await;
    api.apply(POOLS, pool("second", 9003));
    watched.until_endpoints(&["llama b-rank-0", "second b-rank-0"]).await;
    api.delete(POOLS, pool("llama", 9002));
    watched.until_endpoints(&["second b-rank-0"]).await;
}

#[tokio::test]
async fn long_lists_are_read_in_pages() {
    let api = api_with_pool().await;
    (0..1_201).for_each(|n| api.apply(PODS, pod(&format!("pod-{n:04}"), n)));
    let mut watched = Watched::start(&api).await;
    let pools = watched.until(|pools| pools.is_synced).await;
    assert_eq!(1_201, endpoints(&pools).len());
    let pages: Vec<_> = api.requests().into_iter().filter(|request| request.contains(" from ")).collect();
    assert_eq!(vec!["list api/v1/pods from 500", "list api/v1/pods from 1000"], pages);
}

#[tokio::test]
async fn resources_may_be_absent_come_later_and_go_away() {
    let api = FakeApi::start().await;
    api.apply(PODS, pod("a", 1));
    let mut watched = Watched::start(&api).await;
    let pools = watched.until(|pools| pools.is_synced).await;
    assert!(pools.pools.is_empty());
    api.serve("inference.networking.k8s.io/v1", &["inferencepools"]);
    api.apply(POOLS, pool("llama", 9002));
    watched.until_endpoints(&["llama a-rank-0"]).await;
    let legacy = "apis/inference.networking.x-k8s.io/v1alpha2/inferenceobjectives";
    api.serve("inference.networking.x-k8s.io/v1alpha2", &["inferenceobjectives"]);
    api.apply(legacy, objective("high", &json!(1)));
    watched.until(|pools| priority(pools, "high") == Some(1)).await;
    // The newer group hides the older one.
    api.serve("llm-d.ai/v1alpha2", &["inferenceobjectives"]);
    api.apply(OBJECTIVES, objective("high", &json!(2)));
    watched.until(|pools| priority(pools, "high") == Some(2)).await;
    api.serve("llm-d.ai/v1alpha2", &[]);
    watched.until(|pools| priority(pools, "high") == Some(1)).await;
    api.serve("inference.networking.k8s.io/v1", &["other"]);
    watched.until(|pools| pools.pools.is_empty()).await;
}

#[tokio::test]
async fn objects_that_cannot_be_used_are_reported_and_hurt_nothing() {
    let api = api_with_pool().await;
    let mut garbage = pod("a", 1);
    garbage["metadata"]["annotations"] = json!({ "signalbox.dev/metrics-port": "none" });
    api.apply(PODS, garbage);
    api.apply(POOLS, pool("wrong-port", 80));
    api.apply(POOLS, pool("z-same-port", 9002));
    api.apply(OBJECTIVES, objective("bad", &json!("high")));
    api.apply(OBJECTIVES, objective("good", &json!(3)));
    let mut watched = Watched::start(&api).await;
    watched.until_endpoints(&["llama a-rank-0"]).await;
    assert_eq!(Some(3), priority(&watched.pools.borrow(), "good"));
    until("4 events", || api.events().len() == 4).await;
    let mut events = api.events();
    events.sort();
    let expected = [
        "InferenceObjective bad Invalid",
        "InferencePool wrong-port PortNotOpen",
        "InferencePool z-same-port PortTaken",
        "Pod a InvalidSetting",
    ];
    assert_eq!(expected.to_vec(), events);
    let mut rejected = watched.told.rejected.lock().unwrap().clone();
    rejected.sort();
    assert_eq!(
        expected.map(|event| event.split(' ').step_by(2).collect::<Vec<_>>().join(" ")).to_vec(),
        rejected
    );
}

#[tokio::test]
async fn each_message_is_one_event_however_many_aggregators_tell_it() {
    let api = api_with_pool().await;
    api.apply(POOLS, pool("wrong-port", 80));
    let _one = Watched::start(&api).await;
    until("1 event", || api.events() == ["InferencePool wrong-port PortNotOpen"]).await;
    let _other = Watched::start(&api).await;
    until("the event is told again", || api.patched_events() == 1).await;
    // Another message about the same object, for the same reason.
    api.apply(POOLS, pool("wrong-port", 81));
    until("2 events", || api.events().len() == 2 && api.patched_events() == 2).await;
}

#[tokio::test]
async fn watches_end_when_nobody_receives_the_pools() {
    let api = api_with_pool().await;
    let mut watched = Watched::start(&api).await;
    watched.until_endpoints(&[]).await;
    let told = std::sync::Arc::downgrade(&watched.told);
    drop(watched);
    until("the tasks end", || told.upgrade().is_none()).await;
}
