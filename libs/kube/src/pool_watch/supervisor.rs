//! Finds out which custom resources there are, and keeps one watch for each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::{Api, ListParams};
use signalbox_actors::Backoff;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::failure::Failure;
use super::history::History;
use super::observer::PoolWatchObserver;
use super::resource_watch::ResourceWatch;
use super::served_apis::ServedApis;
use super::settings::Pace;
use crate::catalog::{Input, Scope};
use crate::causes::causes;
use crate::cluster::Cluster;
use crate::objects::{
    CUSTOM_API_VERSIONS, CustomObject, Object, PODS, PodObject, Resource, ResourceKind, to_watch,
};

/// Time limit of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Keeps one watch per resource and namespace.
pub(super) struct Supervisor {
    cluster: Cluster,
    pace: Pace,
    scopes: Vec<Scope>,
    inputs: mpsc::Sender<Input>,
    observer: Arc<dyn PoolWatchObserver>,
    relist: watch::Sender<u64>,
    trouble: Arc<Notify>,
    recoveries: watch::Sender<u64>,
    tasks: JoinSet<()>,
    watches: BTreeMap<Resource, Vec<AbortHandle>>,
    /// The custom resources that are watched; `None` until known.
    watched: Option<BTreeSet<Resource>>,
    apis: ServedApis,
    history: History,
    /// Resources of which it was logged that they are ignored.
    ignored: BTreeSet<Resource>,
    /// API versions that this process may not ask for.
    refused: BTreeMap<&'static str, Refusal>,
    /// Number of times in a row that the API server did not answer.
    silences: u32,
}

/// An API version that this process may not ask for.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    since: Instant,
    /// Whether it lasted long enough to be one.
    is_reported: bool,
}

impl Supervisor {
    pub(super) fn new(
        cluster: Cluster,
        pace: Pace,
        scopes: Vec<Scope>,
        inputs: mpsc::Sender<Input>,
        observer: Arc<dyn PoolWatchObserver>,
    ) -> Self {
        Self {
            cluster,
            pace,
            scopes,
            inputs,
            observer,
            relist: watch::Sender::new(0),
            trouble: Arc::default(),
            recoveries: watch::Sender::new(0),
            tasks: JoinSet::new(),
            watches: BTreeMap::new(),
            watched: None,
            apis: ServedApis::new(pace.gone_after),
            history: History::default(),
            ignored: BTreeSet::new(),
            refused: BTreeMap::new(),
            silences: 0,
        }
    }

    /// Runs until nobody receives the objects any more.
    pub(super) async fn run(mut self) {
        self.start(PODS);
        let mut backoff = Backoff::new(self.pace.ask_while_away);
        loop {
            let asked = self.ask_for_apis().await;
            if asked.is_ok() {
                self.check_history().await;
            }
            if self.update_watches().await.is_err() {
                return;
            }
            match asked {
                Ok(()) => {
                    backoff.on_success();
                    self.observer.contacted();
                    self.wait().await;
                }
                Err(Failure::Throttled(wait)) => {
                    sleep(backoff.on_failure(rand::random()).max(wait)).await;
                }
                Err(_) => self.wait_for_recovery(backoff.on_failure(rand::random())).await,
            }
        }
    }

    /// Waits until it is time to ask again: soon if a watch fails, or a refusal may be over.
    async fn wait(&self) {
        let jitter = |longest: Duration| longest.mul_f64(1.0 - rand::random::<f64>() / 4.0);
        let is_brief = self.refused.values().any(|refusal| !refusal.is_reported);
        let wait = sleep(jitter(if is_brief { self.pace.ask_after_failure } else { self.pace.ask }));
        tokio::select! {
            () = wait => {}
            () = self.trouble.notified() => sleep(jitter(self.pace.ask_after_failure)).await,
        }
    }

    /// Waits for `delay`, or until a watch finds that the API server answers.
    async fn wait_for_recovery(&self, delay: Duration) {
        let mut recovered = self.recoveries.subscribe();
        // What is late is only this process.
        let _ = timeout(delay, recovered.changed()).await;
    }

    /// Asks which custom resources there are.
    ///
    /// # Errors
    /// The API server does not say.
    async fn ask_for_apis(&mut self) -> Result<(), Failure> {
        for api_version in CUSTOM_API_VERSIONS {
            let failure = match self.ask_for_api(api_version).await {
                Ok(served) => {
                    self.apis.observe(Instant::now(), api_version, &served);
                    self.refused.remove(api_version);
                    continue;
                }
                Err(failure) => failure,
            };
            if let Failure::Forbidden { verb, message } = &failure {
                self.observe_refusal(Instant::now(), verb, api_version, message);
            } else {
                CUSTOM_API_VERSIONS.into_iter().for_each(|version| self.apis.observe_silence(version));
                self.report_silence(&failure);
                return Err(failure);
            }
        }
        self.report_recovery();
        Ok(())
    }

    /// Makes whoever waits go on if the API server did not answer before.
    fn report_recovery(&mut self) {
        let silences = std::mem::take(&mut self.silences);
        if silences == 0 {
            return;
        }
        tracing::info!(server = self.cluster.server(), "the API server answers again");
        self.recoveries.send_modify(|count| *count += 1);
        // Watches go on from a version that they remember. While it was away, the API server may have got an older
        // history, which has grown past that version since. One silence is no outage.
        if silences > 1 {
            self.relist.send_modify(|generation| *generation += 1);
        }
    }

    /// Asks which of our resources `api_version` has.
    async fn ask_for_api(&self, api_version: &str) -> Result<BTreeSet<Resource>, Failure> {
        let client = self.cluster.client();
        match timeout(REQUEST_TIMEOUT, client.list_api_group_resources(api_version)).await {
            Ok(Ok(list)) => {
                let found = list.resources.iter();
                Ok(found.filter_map(|found| Resource::find(api_version, &found.name)).collect())
            }
            Ok(Err(kube::Error::Api(status))) => match Failure::of_status("get", &status) {
                Failure::NotFound => Ok(BTreeSet::new()),
                failure => Err(failure),
            },
            Ok(Err(error)) => Err(Failure::Unavailable(causes(&error))),
            Err(_) => Err(Failure::Unavailable("no answer in time".to_owned())),
        }
    }

    /// Takes note that this process may not ask for an API version, and logs it once if that lasts.
    fn observe_refusal(&mut self, now: Instant, verb: &str, api_version: &'static str, error: &str) {
        self.observer.watch_failed("apis");
        let refusal = self.refused.entry(api_version).or_insert(Refusal { since: now, is_reported: false });
        if now.duration_since(refusal.since) < self.pace.refusal_grace {
            return self.apis.observe_silence(api_version);
        }
        if !std::mem::replace(&mut refusal.is_reported, true) {
            tracing::error!(
                verb,
                path = format!("/apis/{api_version}"),
                error,
                "not permitted to read which resources there are; bind the role system:discovery; retrying"
            );
        }
        self.apis.observe_refusal(api_version);
    }

    fn report_silence(&mut self, failure: &Failure) {
        self.observer.watch_failed("apis");
        if matches!(failure, Failure::Throttled(_)) {
            return tracing::debug!(server = self.cluster.server(), "the API server is overloaded; retrying");
        }
        self.silences += 1;
        if self.silences == 1 {
            let (server, login) = (self.cluster.server(), self.cluster.login());
            tracing::warn!(
                server, login, error = %failure,
                "cannot reach the API server; check its address, the network and the credentials; retrying"
            );
        }
    }

    /// Makes all watches list again if the API server's history is older than before.
    async fn check_history(&mut self) {
        let Some(scope) = self.scopes.first() else { return };
        let pods = api::<PodObject>(&self.cluster, scope);
        let Ok(Ok(list)) = timeout(REQUEST_TIMEOUT, pods.list(&ListParams::default().limit(1))).await else {
            return;
        };
        if self.history.goes_back(list.metadata.resource_version.as_deref()) {
            tracing::warn!("the API server has an older history than before; listing all objects again");
            self.relist.send_modify(|generation| *generation += 1);
        }
    }

    /// Starts and ends watches so that those that are needed run. Fails when nobody receives the objects.
    async fn update_watches(&mut self) -> Result<(), mpsc::error::SendError<Input>> {
        let Some(served) = self.apis.served() else { return Ok(()) };
        let needed = to_watch(&served);
        self.log_ignored(&served, &needed);
        if self.watched.as_ref() == Some(&needed) {
            return Ok(());
        }
        while self.tasks.try_join_next().is_some() {}
        let running = self.watched.replace(needed.clone()).unwrap_or_default();
        for resource in &running - &needed {
            tracing::info!(
                resource = resource.kind.plural(),
                api_version = resource.api_version,
                "no longer watching a resource"
            );
            self.watches.remove(&resource).into_iter().flatten().for_each(|watch| watch.abort());
        }
        // Sent before the watches start, so that what they send counts.
        self.inputs.send(Input::Watched(needed.clone())).await?;
        for resource in &needed - &running {
            tracing::info!(
                resource = resource.kind.plural(),
                api_version = resource.api_version,
                "watching a resource"
            );
            self.start(resource);
        }
        Ok(())
    }

    /// Logs once which resources are there but ignored.
    fn log_ignored(&mut self, served: &BTreeSet<Resource>, needed: &BTreeSet<Resource>) {
        self.ignored.retain(|resource| served.contains(resource));
        for resource in served - needed {
            if resource.kind != ResourceKind::Pool && self.ignored.insert(resource) {
                tracing::info!(
                    resource = resource.kind.plural(),
                    api_version = resource.api_version,
                    "ignoring objects of a group because llm-d.ai defines their kind"
                );
            }
        }
    }

    fn start(&mut self, resource: Resource) {
        for scope in self.scopes.clone() {
            let watch = ResourceWatch {
                resource,
                scope: scope.clone(),
                inputs: self.inputs.clone(),
                observer: Arc::clone(&self.observer),
                relist: self.relist.subscribe(),
                trouble: Arc::clone(&self.trouble),
                recoveries: self.recoveries.clone(),
                pace: self.pace,
                cluster: self.cluster.clone(),
            };
            let handle = if resource == PODS {
                let read = |pod: PodObject| Object::Pod(pod.into());
                self.tasks.spawn(watch.run(api(&self.cluster, &scope), read))
            } else {
                let read = move |object: CustomObject| object.read(resource);
                self.tasks.spawn(watch.run(custom_api(&self.cluster, resource, &scope), read))
            };
            self.watches.entry(resource).or_default().push(handle);
        }
    }
}

fn api<K>(cluster: &Cluster, scope: &Scope) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match scope.namespace() {
        Some(namespace) => Api::namespaced(cluster.client(), namespace),
        None => Api::all(cluster.client()),
    }
}

fn custom_api(cluster: &Cluster, resource: Resource, scope: &Scope) -> Api<CustomObject> {
    let resource = resource.api_resource();
    match scope.namespace() {
        Some(namespace) => Api::namespaced_with(cluster.client(), namespace, &resource),
        None => Api::all_with(cluster.client(), &resource),
    }
}
