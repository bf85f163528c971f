//! The ConfigMaps, Secrets and tokens that a pod refers to.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::api::Api;
use crate::node::pod_spec::PodSpec;

/// The kind of an object with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
        }
    }
}

/// The data of all objects that a pod refers to, and its tokens by audience.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    data: BTreeMap<(Kind, String), BTreeMap<String, Vec<u8>>>,
    tokens: BTreeMap<String, String>,
}

impl Sources {
    /// Reads everything that the pod refers to. Objects that do not exist are left out. Tokens of `known` are kept:
    /// they outlive a test.
    pub(crate) async fn read(api: &Api, pod: &PodSpec, known: &Self) -> anyhow::Result<Self> {
        let mut sources = Self { tokens: known.tokens.clone(), ..Self::default() };
        for (kind, name) in references(pod) {
            let path = format!("/api/v1/namespaces/{}/{}/{name}", pod.namespace, kind.path());
            if let Some(object) = api.get(&path).await? {
                sources.data.insert((kind, name), data_of(&object)?);
            }
        }
        for audience in audiences(pod) {
            let token = match sources.tokens.remove(&audience) {
                Some(token) => token,
                None => issue_token(api, pod, &audience).await?,
            };
            sources.tokens.insert(audience, token);
        }
        Ok(sources)
    }

    /// Returns the data of an object.
    pub(crate) fn get(&self, kind: Kind, name: &str) -> Option<&BTreeMap<String, Vec<u8>>> {
        self.data.get(&(kind, name.to_owned()))
    }

    /// Returns the data of an object, an error if it does not exist, or nothing if it may be missing.
    pub(crate) fn required(
        &self,
        (kind, name): (Kind, &str),
        reference: &Value,
    ) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        match self.get(kind, name) {
            Some(data) => Ok(data.clone()),
            None if reference["optional"] == true => Ok(BTreeMap::new()),
            None => Err(anyhow::anyhow!("{kind:?} {name} does not exist")),
        }
    }

    /// Returns the token for an audience.
    pub(crate) fn token(&self, audience: &str) -> anyhow::Result<&str> {
        self.tokens.get(audience).map(String::as_str).context("no token was issued")
    }
}

/// Returns the ConfigMap or Secret to which a source of a volume or variable refers, and the reference itself.
pub(crate) fn reference(source: &Value) -> Option<((Kind, &str), &Value)> {
    const FIELDS: [(&str, &str, Kind); 7] = [
        ("configMap", "name", Kind::ConfigMap),
        ("secret", "secretName", Kind::Secret),
        ("secret", "name", Kind::Secret),
        ("configMapKeyRef", "name", Kind::ConfigMap),
        ("secretKeyRef", "name", Kind::Secret),
        ("configMapRef", "name", Kind::ConfigMap),
        ("secretRef", "name", Kind::Secret),
    ];
    FIELDS.iter().find_map(|(field, name, kind)| {
        let found = &source[*field];
        Some(((*kind, found[*name].as_str()?), found))
    })
}

/// Returns the sources of a volume: one, or several for a projected volume.
pub(crate) fn volume_sources(volume: &Value) -> Vec<&Value> {
    match volume["projected"]["sources"].as_array() {
        Some(sources) => sources.iter().collect(),
        None => vec![volume],
    }
}

fn references(pod: &PodSpec) -> BTreeSet<(Kind, String)> {
    let volumes = pod.volumes.iter().flat_map(volume_sources);
    let variables = pod.containers.iter().flat_map(|container| {
        let single = container.environment.iter().map(|variable| &variable["valueFrom"]);
        single.chain(&container.environment_from)
    });
    let found = volumes.chain(variables).filter_map(reference);
    found.map(|((kind, name), _)| (kind, name.to_owned())).collect()
}

fn audiences(pod: &PodSpec) -> BTreeSet<String> {
    let sources = pod.volumes.iter().flat_map(volume_sources).map(|source| &source["serviceAccountToken"]);
    sources.filter(|token| !token.is_null()).map(audience).collect()
}

/// Returns the audience of a token; empty for the API server.
pub(crate) fn audience(token: &Value) -> String {
    token["audience"].as_str().unwrap_or_default().to_owned()
}

async fn issue_token(api: &Api, pod: &PodSpec, audience: &str) -> anyhow::Result<String> {
    let path = format!("/api/v1/namespaces/{}/serviceaccounts/{}/token", pod.namespace, pod.service_account);
    let bound = json!({ "apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid });
    let mut spec = json!({ "expirationSeconds": 3600 * 24, "boundObjectRef": bound });
    if !audience.is_empty() {
        spec["audiences"] = json!([audience]);
    }
    let request = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec });
    let issued = api.create(&path, &request).await?;
    Ok(issued["status"]["token"].as_str().context("the API server issued no token")?.to_owned())
}

fn data_of(object: &Value) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let is_secret = object["kind"] == "Secret";
    let encoded = if is_secret { &object["data"] } else { &object["binaryData"] };
    let mut data = BTreeMap::new();
    for (key, value) in encoded.as_object().into_iter().flatten() {
        data.insert(key.clone(), STANDARD.decode(value.as_str().unwrap_or_default())?);
    }
    if !is_secret {
        for (key, value) in object["data"].as_object().into_iter().flatten() {
            data.insert(key.clone(), value.as_str().unwrap_or_default().as_bytes().to_vec());
        }
    }
    Ok(data)
}
