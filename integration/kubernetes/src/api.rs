//! Reads and writes objects of the API server over plain HTTP, through `kubectl proxy`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use signalbox_integration::{Client, Process, Response, TestDir, Upload, eventually};

use crate::kubectl::Kubectl;

/// After this time, a request has failed. The API server may be stopped or paused.
const PATIENCE: Duration = Duration::from_secs(10);

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_MERGE_PATCH: &str = "application/strategic-merge-patch+json";

/// Access to the API server, with all rights.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    base: String,
    _proxy: Arc<Process>,
}

impl Api {
    /// Starts a proxy.
    ///
    /// # Errors
    /// Fails when it does not start.
    pub async fn start(dir: &TestDir, kubectl: &Kubectl) -> anyhow::Result<Self> {
        let kubeconfig = kubectl.kubeconfig().to_str().context("the path of the kubeconfig is not UTF-8")?;
        let flags = ["--kubeconfig", kubeconfig, "proxy", "--address=127.0.0.1", "--port=0"];
        let proxy = Process::start(dir, "kubectl-proxy", kubectl.binary(), &flags)?;
        let address = async || {
            let text = proxy.stdout()?;
            let address = text.trim().strip_prefix("Starting to serve on ").context("no address yet")?;
            anyhow::Ok(address.to_owned())
        };
        let base = format!("http://{}", eventually("kubectl proxy listens", address).await?);
        Ok(Self { client: Client::new(), base, _proxy: Arc::new(proxy) })
    }

    /// Returns the object at a path such as `/api/v1/namespaces/default/pods/web`, or `None` if there is none.
    ///
    /// # Errors
    /// Fails when the API server does not respond, or refuses.
    pub async fn get(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let response = self.send(Method::GET, path, JSON, Bytes::new()).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(checked(path, &response)?))
    }

    /// Returns all objects at a path such as `/api/v1/pods`.
    ///
    /// # Errors
    /// Fails like [`Api::get`].
    pub async fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let mut list = self.get(path).await?.with_context(|| format!("{path} does not exist"))?;
        let items = list["items"].as_array_mut().with_context(|| format!("{path} is no list"))?;
        Ok(std::mem::take(items))
    }

    /// Creates an object, or a subresource.
    ///
    /// # Errors
    /// Fails like [`Api::get`].
    pub async fn create(&self, path: &str, object: &Value) -> anyhow::Result<Value> {
        checked(path, &self.send(Method::POST, path, JSON, object.to_string().into()).await?)
    }

    /// Changes fields of an object: arrays are replaced.
    ///
    /// # Errors
    /// Fails like [`Api::get`].
    pub async fn patch(&self, path: &str, fields: &Value) -> anyhow::Result<Value> {
        checked(path, &self.send(Method::PATCH, path, MERGE_PATCH, fields.to_string().into()).await?)
    }

    /// Changes fields of the status of a pod: conditions and container statuses are merged by their names.
    ///
    /// # Errors
    /// Fails like [`Api::get`].
    pub async fn patch_status(&self, path: &str, status: &Value) -> anyhow::Result<()> {
        let (path, fields) = (format!("{path}/status"), json!({ "status": status }));
        let sent = self.send(Method::PATCH, &path, STRATEGIC_MERGE_PATCH, fields.to_string().into());
        checked(&path, &sent.await?)?;
        Ok(())
    }

    /// Deletes an object with these options. It is no error if it is gone already.
    ///
    /// # Errors
    /// Fails like [`Api::get`].
    pub async fn delete(&self, path: &str, options: &Value) -> anyhow::Result<()> {
        let response = self.send(Method::DELETE, path, JSON, options.to_string().into()).await?;
        // A conflict: the name now belongs to another object.
        if !matches!(response.status, StatusCode::NOT_FOUND | StatusCode::CONFLICT) {
            checked(path, &response)?;
        }
        Ok(())
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: Bytes) -> anyhow::Result<Response> {
        let (url, headers) = (format!("{}{path}", self.base), [("content-type", kind)]);
        let sent = self.client.send_with(method, &url, &headers, (body, Upload::Whole));
        tokio::time::timeout(PATIENCE, sent).await.context("the API server does not respond")?
    }
}

/// Returns the object of a response, or the reason of a refusal.
fn checked(path: &str, response: &Response) -> anyhow::Result<Value> {
    if !response.status.is_success() {
        let message = response.json().ok().and_then(|status| message(&status));
        let message = message.unwrap_or_else(|| String::from_utf8_lossy(&response.body).into_owned());
        bail!("{path}: {}: {message}", response.status);
    }
    response.json().with_context(|| format!("{path} is no JSON"))
}

/// Returns the message of a refusal with its causes, such as the disruption budget that refuses an eviction.
fn message(status: &Value) -> Option<String> {
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    let causes = causes.filter_map(|cause| cause["message"].as_str());
    Some(causes.fold(status["message"].as_str()?.to_owned(), |message, cause| format!("{message} {cause}")))
}
