//! What both are asked, and in what our answers differ.

pub(crate) const DESIRED: &str = "signalbox_desired_replicas";
pub(crate) const QUEUE: &str = "signalbox_queue_requests";

pub(crate) const OBJECTS: &str =
    "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/inferencepools.inference.networking.k8s.io";
const OBJECTS_V1BETA1: &str =
    "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/inferencepools.inference.networking.k8s.io";
const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default";

/// A request, and in what our answer differs from that of the reference: the place, what we have there, and what the
/// reference has.
pub(crate) struct Question {
    pub(crate) method: &'static str,
    /// The parts of the path, with the query.
    parts: &'static [&'static str],
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) differences: &'static [&'static str],
}

impl Question {
    pub(crate) fn path(&self) -> String {
        self.parts.concat()
    }

    const fn with(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    const fn but(self, differences: &'static [&'static str]) -> Self {
        Self { differences, ..self }
    }
}

const fn get(parts: &'static [&'static str]) -> Question {
    sent("GET", parts)
}

const fn sent(method: &'static str, parts: &'static [&'static str]) -> Question {
    Question { method, parts, headers: &[], differences: &[] }
}

/// Fields of the list of groups that aggregated servers need not have: clients reach them through the API server, which makes
/// the list itself.
const GROUPS: &[&str] = &[
    r#"body.apiVersion: "v1", not nothing"#,
    "body.groups[].serverAddressByClientCIDRs: nothing, not list",
    "body.groups[].serverAddressByClientCIDRs[]: nothing, not object",
    "body.groups[].serverAddressByClientCIDRs[].clientCIDR: nothing, not string",
    "body.groups[].serverAddressByClientCIDRs[].serverAddress: nothing, not string",
];

/// The API server reads the older discovery documents where this one is missing. The reference serves it empty.
const ONE_DOCUMENT_FOR_ALL_GROUPS: &[&str] = &[
    r#"body.kind: "APIGroupList", not "APIGroupDiscoveryList""#,
    "content-type: application/json, not application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
];

/// The reference lists all paths, which nobody reads. Ours is the error that other unknown paths have, too.
const NO_SUCH_PATH: &[&str] =
    &[r#"body.kind: "Status", not nothing"#, r#"body.reason: "NotFound", not nothing"#];

/// Descriptions of the server itself and of its API, which clients have from the API server; its metrics have a port of their
/// own.
const NO_DESCRIPTION: &[&str] =
    &[r#"body.kind: "Status", not nothing"#, r#"body.reason: "NotFound", not nothing"#, "code: 404, not 200"];
const NO_METRICS: &[&str] = &[
    r#"body.kind: "Status", not nothing"#,
    r#"body.reason: "NotFound", not nothing"#,
    "code: 404, not 200",
    "content-type: application/json, not text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
];

/// A path without a metric is one that does not exist.
const NO_METRIC: &[&str] = &[r#"body.reason: "NotFound", not "BadRequest""#, "code: 404, not 400"];

/// What nobody knows is an error that names what is known. Autoscalers take an empty list for an error, too, but cannot say
/// why.
const UNKNOWN: &[&str] = &[
    r#"body.kind: "Status", not "MetricValueList""#,
    r#"body.reason: "NotFound", not nothing"#,
    "code: 404, not 200",
];
const UNKNOWN_EXTERNAL: &[&str] = &[
    r#"body.kind: "Status", not "ExternalMetricValueList""#,
    r#"body.reason: "NotFound", not nothing"#,
    "code: 404, not 200",
];

/// A selector that selects no group of pods is a mistake in it: the error names the groups.
const NO_GROUP: &[&str] = &[r#"body.reason: "BadRequest", not "NotFound""#, "code: 400, not 404"];
const NO_GROUP_OF_ALL: &[&str] = &[
    r#"body.kind: "Status", not "MetricValueList""#,
    r#"body.reason: "BadRequest", not nothing"#,
    "code: 400, not 200",
];
const NO_GROUP_EXTERNAL: &[&str] = &[
    r#"body.kind: "Status", not "ExternalMetricValueList""#,
    r#"body.reason: "BadRequest", not nothing"#,
    "code: 400, not 200",
];

/// Aggregators do not read the labels of InferencePools: they cannot tell which ones are selected.
const LABELS_OF_POOLS: &[&str] = NO_GROUP_OF_ALL;

/// The reference fails where the request is at fault.
const REQUEST_AT_FAULT: &[&str] = &[r#"body.reason: "BadRequest", not nothing"#, "code: 400, not 500"];
const UNKNOWN_RESOURCE: &[&str] = &[r#"body.reason: "NotFound", not nothing"#, "code: 404, not 500"];

/// Options of lists that are read in parts mean nothing here.
const OPTION_OF_LISTS: &[&str] = &[
    r#"body.kind: "MetricValueList", not "Status""#,
    r#"body.reason: nothing, not "BadRequest""#,
    "code: 200, not 400",
];

/// Clients of Kubernetes decode what the answer says that it is, so all are answered with JSON.
const JSON_FOR_PROTOBUF: &[&str] = &[
    r#"body.kind: "MetricValueList", not nothing"#,
    "content-type: application/json, not application/vnd.kubernetes.protobuf",
];
const RESOURCES_IN_JSON: &[&str] = &[
    r#"body.kind: "APIResourceList", not nothing"#,
    "content-type: application/json, not application/vnd.kubernetes.protobuf",
];
const JSON_FOR_ALL: &[&str] = &[
    r#"body.kind: "MetricValueList", not "Status""#,
    r#"body.reason: nothing, not "NotAcceptable""#,
    "code: 200, not 406",
];

/// Probes are answered whoever asks, so that nothing but their subject makes them fail.
const PROBE_FOR_ALL: &[&str] = &[
    r#"body.kind: nothing, not "Status""#,
    r#"body.reason: nothing, not "Unauthorized""#,
    "code: 200, not 401",
    "content-type: text/plain; charset=utf-8, not application/json",
];

pub(crate) const QUESTIONS: &[Question] = &[
    get(&["/apis"]).but(GROUPS),
    get(&["/apis/"]).but(GROUPS),
    get(&["/apis/custom.metrics.k8s.io"]),
    get(&["/apis/custom.metrics.k8s.io/"]),
    get(&["/apis/custom.metrics.k8s.io/v1beta1"]),
    get(&["/apis/custom.metrics.k8s.io/v1beta2"]),
    get(&["/apis/custom.metrics.k8s.io/v1beta2/"]),
    get(&["/apis/custom.metrics.k8s.io/v1"]),
    get(&["/apis/external.metrics.k8s.io"]),
    get(&["/apis/external.metrics.k8s.io/v1beta1"]),
    get(&["/apis/external.metrics.k8s.io/v1beta2"]),
    get(&["/apis/apps"]).but(NO_SUCH_PATH),
    get(&["/apis"])
        .with(&[("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")])
        .but(ONE_DOCUMENT_FOR_ALL_GROUPS),
    get(&["/apis"])
        .with(&[(
            "accept",
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
        )])
        .but(ONE_DOCUMENT_FOR_ALL_GROUPS),
    get(&[OBJECTS, "/llama3/", DESIRED]),
    get(&[OBJECTS_V1BETA1, "/llama3/", DESIRED]),
    get(&[OBJECTS, "/llama3/", QUEUE]),
    get(&[OBJECTS, "/llama3/", DESIRED, "?labelSelector="]),
    get(&[OBJECTS, "/llama3/", DESIRED, "?metricLabelSelector="]),
    get(&[OBJECTS, "/llama3/", DESIRED, "?metricLabelSelector=role%3Dboth"]),
    get(&[OBJECTS, "/llama3/", DESIRED, "?metricLabelSelector=role+in+(both,prefill),!x"]),
    get(&[OBJECTS_V1BETA1, "/llama3/", DESIRED, "?metricLabelSelector=role%3Dboth"]),
    get(&[OBJECTS, "/llama3/", DESIRED, "?metricLabelSelector=role%3Ddecode"]).but(NO_GROUP),
    get(&[OBJECTS, "/llama3/", DESIRED, "?metricLabelSelector=role%3D%3D%3D"]).but(REQUEST_AT_FAULT),
    get(&[OBJECTS, "/llama3/", DESIRED, "?labelSelector=a%20b"]),
    get(&[OBJECTS, "/*/", DESIRED]),
    get(&[OBJECTS, "/%2A/", DESIRED]),
    get(&[OBJECTS, "/*/", DESIRED, "?labelSelector="]),
    get(&[OBJECTS, "/*/", DESIRED, "?labelSelector=app%3Dllama3"]).but(LABELS_OF_POOLS),
    get(&[OBJECTS, "/*/", DESIRED, "?labelSelector=a%20b"]),
    get(&[OBJECTS, "/*/", DESIRED, "?metricLabelSelector=role%3Ddecode"]).but(NO_GROUP_OF_ALL),
    get(&[OBJECTS, "/*/unknown"]).but(UNKNOWN),
    get(&[OBJECTS, "/llama3/unknown"]),
    get(&[OBJECTS, "/unknown/", DESIRED]),
    get(&[OBJECTS, "/llama3/a/b"]),
    get(&[OBJECTS, "/llama3"]),
    get(&[OBJECTS]).but(NO_METRIC),
    get(&["/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/", DESIRED]).but(UNKNOWN),
    get(&["/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/unknown.example.com/a/", DESIRED])
        .but(UNKNOWN_RESOURCE),
    get(&[
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/other/inferencepools.inference.networking.k8s.io/llama3/",
        DESIRED,
    ]),
    get(&[
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/other/inferencepools.inference.networking.k8s.io/*/",
        DESIRED,
    ]),
    get(&["/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/metrics/", DESIRED]),
    get(&["/apis/custom.metrics.k8s.io/v1beta2/namespaces/default"]),
    get(&["/apis/custom.metrics.k8s.io/v1beta2/nodes/a/", DESIRED]),
    get(&["/apis/custom.metrics.k8s.io/v1beta2/nodes/a"]),
    sent("HEAD", &[OBJECTS, "/llama3/", DESIRED]),
    sent("POST", &[OBJECTS, "/llama3/", DESIRED]),
    sent("PUT", &[OBJECTS, "/llama3/", DESIRED]),
    sent("DELETE", &[OBJECTS, "/llama3/", DESIRED]),
    sent("OPTIONS", &[OBJECTS, "/llama3/", DESIRED]),
    sent("POST", &["/apis/custom.metrics.k8s.io/v1beta2"]),
    get(&[OBJECTS, "/llama3/", DESIRED, "?watch=true"]),
    get(&[OBJECTS, "/llama3/", DESIRED, "?limit=x"]).but(OPTION_OF_LISTS),
    get(&[OBJECTS, "/llama3/", DESIRED, "?pretty=true"]),
    get(&[OBJECTS, "/llama3/", DESIRED]).with(&[("accept", "application/json")]),
    get(&[OBJECTS, "/llama3/", DESIRED])
        .with(&[("accept", "application/vnd.kubernetes.protobuf,application/json")])
        .but(JSON_FOR_PROTOBUF),
    get(&[OBJECTS, "/llama3/", DESIRED])
        .with(&[("accept", "application/vnd.kubernetes.protobuf")])
        .but(JSON_FOR_PROTOBUF),
    get(&[OBJECTS, "/llama3/", DESIRED]).with(&[("accept", "application/cbor,application/json")]),
    get(&[OBJECTS, "/llama3/", DESIRED])
        .with(&[("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")]),
    get(&[OBJECTS, "/llama3/", DESIRED])
        .with(&[("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")])
        .but(JSON_FOR_ALL),
    get(&[OBJECTS, "/llama3/", DESIRED]).with(&[("accept", "text/html")]).but(JSON_FOR_ALL),
    get(&[OBJECTS, "/llama3/", DESIRED]).with(&[("accept", "*/*")]),
    get(&[OBJECTS, "/llama3/", DESIRED]).with(&[("accept-encoding", "gzip")]),
    get(&["/apis/custom.metrics.k8s.io/v1beta2"])
        .with(&[("accept", "application/vnd.kubernetes.protobuf,application/json")])
        .but(RESOURCES_IN_JSON),
    get(&["/apis/custom.metrics.k8s.io/v1beta2"]).with(&[("accept-encoding", "gzip")]),
    get(&[OBJECTS, "/llama3/", DESIRED]).with(&[("authorization", "Bearer wrong")]),
    get(&[OBJECTS, "/llama3/", DESIRED]).with(&[("authorization", "")]),
    get(&["/apis/custom.metrics.k8s.io/v1beta2"]).with(&[("authorization", "")]),
    get(&["/healthz"]).with(&[("authorization", "")]),
    get(&["/livez"]).with(&[("authorization", "")]),
    get(&["/readyz"]).with(&[("authorization", "")]),
    get(&["/readyz"]).with(&[("authorization", "Bearer wrong")]).but(PROBE_FOR_ALL),
    get(&["/healthz?verbose"]),
    sent("HEAD", &["/healthz"]),
    get(&[EXTERNAL, "/", DESIRED, "?labelSelector=inference_pool%3Dllama3"]),
    get(&[EXTERNAL, "/", DESIRED, "?labelSelector=inference_pool%3Dllama3,role%3Dboth"]),
    get(&[EXTERNAL, "/", DESIRED]),
    get(&[EXTERNAL, "/", DESIRED, "?labelSelector="]),
    get(&[EXTERNAL, "/", DESIRED, "?labelSelector=inference_pool%3Dother"]).but(UNKNOWN_EXTERNAL),
    get(&[EXTERNAL, "/", DESIRED, "?labelSelector=role%3Ddecode"]).but(NO_GROUP_EXTERNAL),
    get(&[EXTERNAL, "/", DESIRED, "?labelSelector=a%20b"]),
    get(&[EXTERNAL, "/unknown"]).but(UNKNOWN_EXTERNAL),
    get(&[EXTERNAL]),
    get(&[EXTERNAL, "/a/b"]),
    get(&["/apis/external.metrics.k8s.io/v1beta1/", DESIRED]),
    get(&["/apis/external.metrics.k8s.io/v1beta1/namespaces/other/", DESIRED]).but(UNKNOWN_EXTERNAL),
    sent("POST", &[EXTERNAL, "/", DESIRED]),
    get(&["/openapi/v2"]).but(NO_DESCRIPTION),
    get(&["/openapi/v3"]).but(NO_DESCRIPTION),
    get(&["/version"]).but(NO_DESCRIPTION),
    get(&["/metrics"]).but(NO_METRICS),
    get(&["/"]).but(NO_DESCRIPTION),
    get(&["/api"]).but(NO_SUCH_PATH),
    get(&["/unknown"]).but(NO_SUCH_PATH),
];
