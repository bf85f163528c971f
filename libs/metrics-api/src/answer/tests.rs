use super::*;
use crate::metrics::IsSelected;

/// Pool `one` has one part. `two` has two, of different roles. Nothing is known of `silent`.
struct Known;

const DESIRED: &str = "signalbox_desired_replicas";

impl Metrics for Known {
    fn names(&self) -> &[&'static str] {
        &[DESIRED, "signalbox_queue_requests"]
    }

    fn pools(&self, namespace: &str) -> Vec<PoolId> {
        let named = |name: &str| PoolId { namespace: namespace.to_owned(), name: name.to_owned() };
        if namespace == "ns" { ["one", "two", "silent"].map(named).to_vec() } else { Vec::new() }
    }

    fn read(&self, pool: &PoolId, _: &str, is_selected: IsSelected<'_>) -> Result<Reading, NoReading> {
        let roles: &[(&str, f64)] = match pool.name.as_str() {
            "one" => &[("both", 3.0)],
            "two" => &[("prefill", 1.5), ("decode", 4.0)],
            _ => return Err(NoReading::Unavailable("its owner is not heard".to_owned())),
        };
        let selected: Vec<f64> = roles
            .iter()
            .filter(|(role, _)| is_selected(&[("role", role)]))
            .map(|(_, value)| *value)
            .collect();
        let [value] = selected[..] else {
            return Err(NoReading::Selection(format!("{} parts are selected", selected.len())));
        };
        Ok(Reading { value, timestamp: "2026-08-22T19:08:26Z".to_owned() })
    }
}

fn get(path: &str) -> Answer {
    answer(&Method::GET, &path.parse().unwrap(), true, &Known)
}

fn refused(code: u16, path: &str) -> String {
    let answer = get(path);
    assert_eq!(code, answer.code, "{path}: {answer:?}");
    assert_eq!(
        ("Status", u64::from(code)),
        (text(&answer.body["kind"]), answer.body["code"].as_u64().unwrap())
    );
    text(&answer.body["message"]).to_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

const OBJECTS: &str =
    "/apis/custom.metrics.k8s.io/v1beta2/namespaces/ns/inferencepools.inference.networking.k8s.io";
const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/ns";

#[test]
fn an_object_has_its_value_in_both_versions() {
    let answer = get(&format!("{OBJECTS}/one/{DESIRED}"));
    let expected = serde_json::json!({
        "kind": "MetricValueList",
        "apiVersion": "custom.metrics.k8s.io/v1beta2",
        "metadata": {},
        "items": [{
            "describedObject": {
                "kind": "InferencePool",
                "namespace": "ns",
                "name": "one",
                "apiVersion": "inference.networking.k8s.io/v1",
            },
            "metric": { "name": DESIRED, "selector": null },
            "timestamp": "2026-08-22T19:08:26Z",
            "value": "3",
        }],
    });
    assert_eq!(Answer { code: 200, body: expected }, answer);
    let old = get(&format!("{}/one/{DESIRED}", OBJECTS.replace("v1beta2", "v1beta1")));
    assert_eq!(DESIRED, old.body["items"][0]["metricName"]);
    assert_eq!(Some(&Value::Null), old.body["items"][0].get("selector"));
    let earlier = get(&format!("{}/one/{DESIRED}", OBJECTS.replace("networking.k8s", "networking.x-k8s")));
    assert_eq!(
        "inference.networking.x-k8s.io/v1alpha2",
        earlier.body["items"][0]["describedObject"]["apiVersion"]
    );
}

#[test]
fn a_metric_selector_chooses_the_part_of_a_pool() {
    let selected = |selector: &str| {
        get(&format!("{OBJECTS}/two/{DESIRED}?labelSelector=&metricLabelSelector={selector}"))
    };
    let prefill = &selected("role%3Dprefill").body["items"][0];
    assert_eq!("1500m", prefill["value"]);
    assert_eq!("prefill", prefill["metric"]["selector"]["matchLabels"]["role"]);
    assert_eq!("4", selected("role+in+(decode%2Cother)").body["items"][0]["value"]);
    let message = refused(400, &format!("{OBJECTS}/two/{DESIRED}"));
    assert!(message.contains("pool ns/two: 2 parts"), "{message}");
    let message = refused(400, &format!("{OBJECTS}/two/{DESIRED}?metricLabelSelector=role%20prefill"));
    assert!(message.contains("metricLabelSelector: unable to parse the selector"), "{message}");
}

#[test]
fn an_external_metric_is_that_of_one_pool() {
    let selected = |selector: &str| get(&format!("{EXTERNAL}/{DESIRED}?labelSelector={selector}"));
    let answer = selected("inference_pool%3Done");
    let expected = serde_json::json!({
        "kind": "ExternalMetricValueList",
        "apiVersion": "external.metrics.k8s.io/v1beta1",
        "metadata": {},
        "items": [{
            "metricName": DESIRED,
            "metricLabels": { "inference_pool": "one" },
            "timestamp": "2026-08-22T19:08:26Z",
            "value": "3",
        }],
    });
    assert_eq!(Answer { code: 200, body: expected }, answer);
    assert_eq!("4", selected("inference_pool%3Dtwo,role%3Ddecode").body["items"][0]["value"]);
    let message = refused(400, &format!("{EXTERNAL}/{DESIRED}?labelSelector="));
    assert!(message.contains("add up") && message.contains("inference_pool=NAME"), "{message}");
    let message = refused(404, &format!("{EXTERNAL}/{DESIRED}?labelSelector=inference_pool%3Dx"));
    assert!(message.contains("one, two, silent"), "{message}");
    refused(400, &format!("{EXTERNAL}/{DESIRED}?labelSelector=inference_pool%3Done,role%3Dx"));
}

#[test]
fn what_is_not_known_is_an_error_that_names_what_there_is() {
    let message = refused(404, &format!("{OBJECTS}/three/{DESIRED}"));
    assert!(message.contains("\"three\"") && message.contains("one, two, silent"), "{message}");
    let message = refused(404, &format!("{}/one/{DESIRED}", OBJECTS.replace("/ns/", "/other/")));
    assert!(message.contains("namespace other; this server knows: none"), "{message}");
    let message = refused(404, &format!("{OBJECTS}/one/replicas"));
    assert!(message.contains(DESIRED) && message.contains("signalbox_queue_requests"), "{message}");
    let message =
        refused(404, &format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/ns/pods/one/{DESIRED}"));
    assert!(message.contains("inferencepools.inference.networking.k8s.io"), "{message}");
    assert!(refused(503, &format!("{OBJECTS}/silent/{DESIRED}")).contains("its owner is not heard"));
    refused(404, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/ns/pods/one");
    refused(404, "/openapi/v2");
}

#[test]
fn all_objects_of_a_namespace_have_values_or_none_has() {
    refused(400, &format!("{OBJECTS}/*/{DESIRED}"));
    refused(400, &format!("{OBJECTS}/*/{DESIRED}?labelSelector=a%3Db"));
    let none = get(&format!("{}/*/{DESIRED}", OBJECTS.replace("/ns/", "/empty/")));
    assert_eq!((200, 0), (none.code, none.body["items"].as_array().unwrap().len()));
}

#[test]
fn groups_and_resources_are_discovered() {
    let groups = get("/apis");
    assert_eq!(2, groups.body["groups"].as_array().unwrap().len());
    let group = get("/apis/custom.metrics.k8s.io").body;
    assert_eq!(("APIGroup", "v1beta2"), (text(&group["kind"]), text(&group["preferredVersion"]["version"])));
    let resources = get("/apis/custom.metrics.k8s.io/v1beta1").body;
    assert_eq!(
        ("APIResourceList", 4),
        (text(&resources["kind"]), resources["resources"].as_array().unwrap().len())
    );
    let name = format!("inferencepools.inference.networking.k8s.io/{DESIRED}");
    assert_eq!(name, text(&resources["resources"][0]["name"]));
    let external = get("/apis/external.metrics.k8s.io/v1beta1").body;
    assert_eq!(DESIRED, text(&external["resources"][0]["name"]));
}

#[test]
fn external_metrics_are_not_there_unless_they_are_served() {
    for path in ["/apis/external.metrics.k8s.io".to_owned(), format!("{EXTERNAL}/{DESIRED}")] {
        assert_eq!(404, answer(&Method::GET, &path.parse().unwrap(), false, &Known).code, "{path}");
    }
    assert_eq!(
        1,
        answer(&Method::GET, &Uri::from_static("/apis"), false, &Known).body["groups"]
            .as_array()
            .unwrap()
            .len()
    );
}

#[test]
fn metrics_can_only_be_read() {
    let answer = answer(&Method::POST, &format!("{OBJECTS}/one/{DESIRED}").parse().unwrap(), true, &Known);
    assert_eq!((405, "MethodNotAllowed"), (answer.code, text(&answer.body["reason"])));
}
