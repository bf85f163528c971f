//! Lists and watches one resource in one namespace, or in all.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use kube::runtime::watcher;
use kube::runtime::watcher::Event;
use kube::{Api, Resource as KubeResource};
use serde::de::DeserializeOwned;
use signalbox_actors::Backoff;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::sleep;

use super::failure::Failure;
use super::observer::PoolWatchObserver;
use super::settings::Pace;
use crate::catalog::{Input, Scope};
use crate::cluster::Cluster;
use crate::objects::{Object, Resource, ResourceKind};

/// After how many seconds the API server ends a watch, which then goes on where it was. It bounds for how
/// long a connection that broke silently goes unnoticed.
const WATCH_SECONDS: u32 = 60;

/// Failures that are further apart have nothing to do with each other.
const IN_A_ROW: Duration = Duration::from_secs(120);

/// Number of objects that are listed at once.
const PAGE_SIZE: u32 = 500;

/// One watch.
pub(super) struct ResourceWatch {
    pub(super) resource: Resource,
    pub(super) scope: Scope,
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) observer: Arc<dyn PoolWatchObserver>,
    /// Changes when all objects must be listed again.
    pub(super) relist: watch::Receiver<u64>,
    /// Is notified when the watch fails.
    pub(super) trouble: Arc<Notify>,
    /// Changes when the API server answers after it did not.
    pub(super) recoveries: watch::Sender<u64>,
    pub(super) pace: Pace,
    pub(super) cluster: Cluster,
}

/// Nobody receives the objects any more.
struct Closed;

impl ResourceWatch {
    /// Watches the objects of `api`, of which `read` takes what is used. Never gives up; ends when nobody
    /// receives the objects any more.
    pub(super) async fn run<K>(mut self, api: Api<K>, read: impl Fn(K) -> Object)
    where
        K: KubeResource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let config = watcher::Config::default().page_size(PAGE_SIZE).timeout(WATCH_SECONDS);
        let mut health = Health::new(self.pace);
        loop {
            self.relist.mark_unchanged();
            let mut events = pin!(watcher(api.clone(), config.clone()));
            let mut listed = Vec::new();
            // Ends when all objects must be listed again by a new watcher.
            loop {
                let event = tokio::select! {
                    event = events.next() => event,
                    changed = self.relist.changed() => match changed {
                        Ok(()) => {
                            sleep(self.pace.retry_after_outage.mul_f64(rand::random())).await;
                            break;
                        }
                        Err(_) => return,
                    },
                };
                let outcome = match event {
                    Some(Ok(event)) => self.take(event, &read, &mut listed, &mut health).await,
                    Some(Err(error)) => {
                        listed.clear();
                        let failure = Failure::of_watch(&error);
                        let sent = self.wait_after(&failure, &mut health).await;
                        if sent.is_ok() && failure == Failure::NoHistory {
                            break;
                        }
                        sent
                    }
                    None => break,
                };
                if outcome.is_err() {
                    return;
                }
            }
        }
    }

    /// Passes on what an event says.
    async fn take<K>(
        &self,
        event: Event<K>,
        read: &impl Fn(K) -> Object,
        listed: &mut Vec<Object>,
        health: &mut Health,
    ) -> Result<(), Closed> {
        let (resource, scope) = (self.resource, self.scope.clone());
        let input = match event {
            Event::Init => {
                listed.clear();
                return Ok(());
            }
            Event::InitApply(object) => {
                listed.push(read(object));
                return Ok(());
            }
            Event::InitDone => Input::Listed { resource, scope, objects: std::mem::take(listed) },
            Event::Apply(object) => Input::Applied(resource, read(object)),
            Event::Delete(object) => Input::Deleted(resource, read(object)),
        };
        if let Some(failure) = health.recover() {
            let (resource, namespace) = (self.resource.kind.plural(), self.namespace());
            tracing::info!(resource, namespace, "watching again");
            if matches!(failure, Failure::Unavailable(_)) {
                self.recoveries.send_modify(|count| *count += 1);
            }
        }
        self.send(input).await
    }

    /// Reports a failure and waits before the next attempt.
    async fn wait_after(&self, failure: &Failure, health: &mut Health) -> Result<(), Closed> {
        // Whoever sees that the API server answers again may do so before this watch waits for it.
        let mut recovered = self.recoveries.subscribe();
        self.observer.watch_failed(self.resource.kind.plural());
        let noted = health.fail(Instant::now(), failure);
        if noted == Noted::New {
            self.log(failure);
        }
        if noted == Noted::New && matches!(failure, Failure::Forbidden { .. }) {
            self.send(Input::Refused { resource: self.resource, scope: self.scope.clone() }).await?;
        }
        self.trouble.notify_one();
        let jitter: f64 = rand::random();
        let least = match noted {
            Noted::Brief => Duration::ZERO,
            Noted::New | Noted::Known => failure.least_delay(self.pace.retry_refused),
        };
        let delay = health.backoff.on_failure(jitter).max(least.mul_f64(1.0 + jitter));
        let wait = sleep(delay);
        if !matches!(failure, Failure::Unavailable(_)) {
            wait.await;
            return Ok(());
        }
        tokio::select! {
            () = wait => {}
            _ = recovered.changed() => sleep(self.pace.retry_after_outage.min(delay).mul_f64(jitter)).await,
        }
        Ok(())
    }

    fn log(&self, failure: &Failure) {
        let (resource, group) = (self.resource.kind.plural(), self.resource.group());
        let (namespace, server) = (self.namespace(), self.cluster.server());
        match failure {
            Failure::Forbidden { verb, message } => {
                let rule =
                    format!("{{ apiGroups: [{group:?}], resources: [{resource}], verbs: [list, watch] }}");
                // What this means is said by `Settled`.
                let meanwhile = match self.resource.kind {
                    ResourceKind::Pod | ResourceKind::Pool => {
                        "pools that are known stay as they are, others in the namespace are not served"
                    }
                    _ => "going on with the other objects",
                };
                tracing::error!(
                    verb,
                    resource,
                    namespace,
                    rule,
                    meanwhile,
                    error = message,
                    "not permitted to watch objects; add the rule to the role; retrying"
                );
            }
            Failure::Unauthorized(error) => tracing::error!(
                resource,
                namespace,
                server,
                error,
                "the API server does not accept the credentials; check the service account or the kubeconfig; retrying"
            ),
            Failure::NotFound => {
                tracing::debug!(resource, group, "the API server does not have a resource; retrying");
            }
            Failure::NoHistory => {
                tracing::info!(resource, namespace, "the watched history is gone; listing again");
            }
            Failure::Throttled(_) => {
                tracing::warn!(resource, namespace, server, "the API server is overloaded; retrying");
            }
            Failure::Unavailable(error) => tracing::warn!(
                resource,
                namespace,
                server,
                error,
                "cannot watch objects; keeping the last known ones; retrying"
            ),
        }
    }

    /// Returns the namespace for logs.
    fn namespace(&self) -> &str {
        self.scope.namespace().unwrap_or("(all)")
    }

    async fn send(&self, input: Input) -> Result<(), Closed> {
        self.inputs.send(input).await.map_err(|_| Closed)
    }
}

/// The failures in a row.
struct Health {
    backoff: Backoff,
    /// For how long a refusal is none yet.
    refusal_grace: Duration,
    /// The last failure that was noted.
    last: Option<Failure>,
    refused_since: Option<Instant>,
    failed_at: Option<Instant>,
}

/// What a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    /// The first one with this reason.
    New,
    /// One more with the same reason.
    Known,
    /// A refusal that may be over in a moment.
    Brief,
}

impl Health {
    fn new(pace: Pace) -> Self {
        let backoff = Backoff::new(pace.retry);
        Self { backoff, refusal_grace: pace.refusal_grace, last: None, refused_since: None, failed_at: None }
    }

    /// Takes note of a failure.
    fn fail(&mut self, now: Instant, failure: &Failure) -> Noted {
        // A watch that goes on without a change says nothing, so that no success may have been noted in between.
        if self.failed_at.replace(now).is_some_and(|before| now.duration_since(before) > IN_A_ROW) {
            self.recover();
        }
        if failure.is_refusal() {
            let since = *self.refused_since.get_or_insert(now);
            if now.duration_since(since) < self.refusal_grace {
                return Noted::Brief;
            }
        } else {
            self.refused_since = None;
        }
        let is_known = self.last.as_ref().is_some_and(|last| last.is_like(failure));
        self.last = Some(failure.clone());
        if is_known { Noted::Known } else { Noted::New }
    }

    /// Takes note of a success. Returns the failure before, if any was noted.
    fn recover(&mut self) -> Option<Failure> {
        self.backoff.on_success();
        self.refused_since = None;
        self.last.take()
    }
}
