//! An API server that keeps objects in memory: lists in pages, watches, and faults on request.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cluster::{Cluster, ClusterSettings};

/// The contents of the server.
#[derive(Default)]
struct Contents {
    version: u64,
    /// `GROUP/VERSION` → plural names of its resources.
    apis: BTreeMap<String, Vec<String>>,
    /// `(resource path, NAMESPACE/NAME)` → object. The path has no namespace, e.g. `api/v1/pods`.
    objects: BTreeMap<(String, String), Value>,
    /// Version, resource path, type of the change and object.
    log: Vec<(u64, String, &'static str, Value)>,
    /// Watches that began before this number was increased end.
    connections: u64,
    /// `VERB PATH` → status of the answer.
    faults: BTreeMap<String, u16>,
    /// Requests as `VERB PATH`, a list with its `continue` token if it has one.
    requests: Vec<String>,
    events: Vec<Value>,
    /// Names of Events that were patched.
    patched_events: Vec<String>,
}

/// The server. It ends with the test's runtime.
#[derive(Clone)]
pub(super) struct FakeApi {
    contents: Arc<Mutex<Contents>>,
    changed: watch::Sender<()>,
    url: String,
}

impl FakeApi {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let contents = Arc::new(Mutex::new(Contents { version: 100, ..Contents::default() }));
        let api = Self { contents, changed: watch::Sender::new(()), url };
        let router = Router::new().fallback(answer).with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        api
    }

    pub(super) async fn cluster(&self) -> Cluster {
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": self.url } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
            "users": [{ "name": "u", "user": {} }],
        });
        std::fs::write(file.path(), config.to_string()).unwrap();
        Cluster::connect(&ClusterSettings { kubeconfig: Some(file.path().to_owned()) }).await.unwrap()
    }

    pub(super) fn serve(&self, api_version: &str, plurals: &[&str]) {
        let plurals = plurals.iter().map(|plural| (*plural).to_owned()).collect();
        self.edit().apis.insert(api_version.to_owned(), plurals);
    }

    /// Creates or replaces an object, which has `metadata.namespace` and `metadata.name`.
    pub(super) fn apply(&self, path: &str, object: Value) {
        self.change(path, object, "MODIFIED");
    }

    pub(super) fn delete(&self, path: &str, object: Value) {
        self.change(path, object, "DELETED");
    }

    /// Deletes an object without telling those who watch.
    pub(super) fn delete_silently(&self, path: &str, key: &str) {
        let removed = self.edit().objects.remove(&(path.to_owned(), key.to_owned()));
        assert!(removed.is_some(), "no {key}");
    }

    fn change(&self, path: &str, mut object: Value, action: &'static str) {
        let mut contents = self.edit();
        contents.version += 1;
        let version = contents.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let at = (path.to_owned(), key(&object));
        match action {
            "DELETED" => contents.objects.remove(&at),
            _ => contents.objects.insert(at, object.clone()),
        };
        contents.log.push((version, path.to_owned(), action, object));
        drop(contents);
        self.changed.send_replace(());
    }

    /// Answers requests such as `list api/v1/pods` with this status from now on; 0 ends that.
    pub(super) fn fail(&self, request: &str, status: u16) {
        let mut contents = self.edit();
        match status {
            0 => contents.faults.remove(request),
            status => contents.faults.insert(request.to_owned(), status),
        };
    }

    /// Ends all watches.
    pub(super) fn cut(&self) {
        self.edit().connections += 1;
        self.changed.send_replace(());
    }

    /// Goes on with a version far below that of all objects, and without a record of earlier changes.
    pub(super) fn restore_older_history(&self) {
        let mut contents = self.edit();
        contents.version = 10;
        contents.log.clear();
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.edit().requests.clone()
    }

    /// Returns the Events as `KIND NAME REASON`.
    pub(super) fn events(&self) -> Vec<String> {
        let shown = |event: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let regarding = &event["regarding"];
            format!("{} {} {}", text(&regarding["kind"]), text(&regarding["name"]), text(&event["reason"]))
        };
        self.edit().events.iter().map(shown).collect()
    }

    /// Returns how often Events were patched.
    pub(super) fn patched_events(&self) -> usize {
        self.edit().patched_events.len()
    }

    fn edit(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap()
    }
}

fn key(object: &Value) -> String {
    let metadata = &object["metadata"];
    format!("{}/{}", metadata["namespace"].as_str().unwrap(), metadata["name"].as_str().unwrap())
}

fn status(code: u16) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "message": format!("the test says {code}"), "reason": "Test",
    });
    (StatusCode::from_u16(code).unwrap(), Json(body)).into_response()
}

async fn answer(
    State(api): State<FakeApi>,
    Query(query): Query<BTreeMap<String, String>>,
    request: Request,
) -> Response {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    if path.ends_with("/events") && request.method() == Method::POST {
        let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
        return api.take_event(&serde_json::from_slice(&body).unwrap());
    }
    if let Some((before, event)) = path.rsplit_once('/')
        && before.ends_with("/events")
        && request.method() == Method::PATCH
    {
        return api.patch_event(event);
    }
    if let Some(api_version) = path.strip_prefix("apis/")
        && api_version.split('/').count() == 2
    {
        return api.resources(api_version);
    }
    let (path, namespace) = split_namespace(&path);
    let is_watch = query.get("watch").is_some_and(|watch| watch == "true" || watch == "1");
    let verb = if is_watch { "watch" } else { "list" };
    let request = format!("{verb} {path}");
    {
        let mut contents = api.edit();
        let page = query.get("continue").map(|token| format!(" from {token}")).unwrap_or_default();
        contents.requests.push(format!("{request}{page}"));
        if let Some(code) = contents.faults.get(&request) {
            return status(*code);
        }
        if !contents.is_served(&path) {
            return status(404);
        }
    }
    match is_watch {
        true => api.watch(path, namespace, query["resourceVersion"].parse().unwrap()),
        false => api.list(&path, namespace.as_deref(), &query),
    }
}

/// Splits the namespace off a path such as `api/v1/namespaces/prod/pods`.
fn split_namespace(path: &str) -> (String, Option<String>) {
    let Some((before, after)) = path.split_once("/namespaces/") else { return (path.to_owned(), None) };
    let (namespace, plural) = after.split_once('/').unwrap();
    (format!("{before}/{plural}"), Some(namespace.to_owned()))
}

impl Contents {
    fn is_served(&self, path: &str) -> bool {
        let Some((version, plural)) = path.strip_prefix("apis/").and_then(|path| path.rsplit_once('/'))
        else {
            return true;
        };
        self.apis.get(version).is_some_and(|plurals| plurals.iter().any(|found| found == plural))
    }
}

impl FakeApi {
    fn take_event(&self, event: &Value) -> Response {
        let mut contents = self.edit();
        if let Some(code) = contents.faults.get("create events") {
            return status(*code);
        }
        let name = &event["metadata"]["name"];
        if contents.events.iter().any(|known| known["metadata"]["name"] == *name) {
            return status(409);
        }
        contents.events.push(event.clone());
        Json(event.clone()).into_response()
    }

    fn patch_event(&self, name: &str) -> Response {
        let mut contents = self.edit();
        let event = contents.events.iter().find(|event| event["metadata"]["name"] == name).cloned();
        contents.patched_events.push(name.to_owned());
        event.map_or_else(|| status(404), |event| Json(event).into_response())
    }

    fn resources(&self, api_version: &str) -> Response {
        let mut contents = self.edit();
        contents.requests.push(format!("get apis {api_version}"));
        if let Some(code) = contents.faults.get("get apis") {
            return status(*code);
        }
        let Some(plurals) = contents.apis.get(api_version) else { return status(404) };
        let resource = |plural: &String| json!({ "name": plural, "singularName": "", "namespaced": true, "kind": "Any", "verbs": ["list"] });
        let resources: Vec<_> = plurals.iter().map(resource).collect();
        Json(json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": resources,
        }))
        .into_response()
    }

    fn list(&self, path: &str, namespace: Option<&str>, query: &BTreeMap<String, String>) -> Response {
        let contents = self.edit();
        let is_wanted = |of: &str, key: &str| {
            of == path && namespace.is_none_or(|namespace| key.starts_with(&format!("{namespace}/")))
        };
        let all: Vec<_> = contents
            .objects
            .iter()
            .filter(|((of, key), _)| is_wanted(of, key))
            .map(|(_, object)| object)
            .collect();
        let number =
            |name: &str, default: usize| query.get(name).map_or(default, |text| text.parse().unwrap());
        let (from, limit) = (number("continue", 0), number("limit", usize::MAX));
        let page: Vec<_> = all.iter().skip(from).take(limit).collect();
        let next = from + page.len();
        let mut metadata = json!({ "resourceVersion": contents.version.to_string() });
        if next < all.len() {
            metadata["continue"] = json!(next.to_string());
        }
        Json(json!({ "kind": "List", "apiVersion": "v1", "metadata": metadata, "items": page }))
            .into_response()
    }

    fn watch(&self, path: String, namespace: Option<String>, from: u64) -> Response {
        let (api, changed) = (self.clone(), self.changed.subscribe());
        let connection = self.edit().connections;
        let changes = stream::unfold((from, changed), move |(seen, mut changed)| {
            let (api, path, namespace) = (api.clone(), path.clone(), namespace.clone());
            async move {
                loop {
                    changed.mark_unchanged();
                    {
                        let contents = api.edit();
                        if contents.connections != connection {
                            return None;
                        }
                        let next = contents.log.iter().find(|(version, of, _, object)| {
                            let is_wanted =
                                |namespace: &String| key(object).starts_with(&format!("{namespace}/"));
                            *version > seen && *of == path && namespace.as_ref().is_none_or(is_wanted)
                        });
                        if let Some((version, _, action, object)) = next {
                            let line = json!({ "type": action, "object": object }).to_string() + "\n";
                            return Some((Ok::<_, std::io::Error>(line), (*version, changed)));
                        }
                    }
                    changed.changed().await.ok()?;
                }
            }
        });
        Body::from_stream(changes).into_response()
    }
}
