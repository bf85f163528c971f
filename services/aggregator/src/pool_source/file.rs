//! Pools from endpoints files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use signalbox_types::PageSettings;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::host_addresses::{HostAddresses, Lookup, system_lookup};
use super::set::PoolSet;
use crate::endpoints_file::{self, Parsed, ReadError};
use crate::metrics::Metrics;

/// How often the endpoints file is checked for changes.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// How often host names in the endpoints file are resolved.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(5);

/// How long the pool stays unknown at first while a host name has no address. An aggregator that starts while the name
/// server fails must not take the endpoints that replicas know from them; a name that is wrong must not hold back the others
/// for ever.
const MAX_UNKNOWN: Duration = Duration::from_secs(30);

/// Watches the pool of the endpoints file at `path`, whose current contents are given. A pool with host names is known
/// when each was resolved once, or after a while.
pub(super) fn watch_file(
    path: PathBuf,
    contents: Parsed,
    defaults: PageSettings,
    metrics: &Metrics,
) -> watch::Receiver<PoolSet> {
    let (pool, file_metrics) = (contents.spec.id.clone(), metrics.endpoints_file(&contents.spec.id));
    let known = match contents.named.is_empty() {
        true => PoolSet::of(contents.spec.clone(), contents.port),
        false => PoolSet::default(),
    };
    let (sets, receiver) = watch::channel(known);
    let (files, changes) = watch::channel(Arc::new(contents));
    let on_change = move |read: Result<Parsed, ReadError>| match read {
        Ok(Parsed { spec, .. }) if spec.id != pool => {
            file_metrics.record_invalid();
            let named = spec.id;
            tracing::error!(
                %pool, %named,
                "the endpoints file names another pool; keeping the last valid version; restore the name or restart the aggregator"
            );
        }
        Ok(parsed) => {
            file_metrics.record_valid();
            files.send_if_modified(|last| replace_if_new(last, Arc::new(parsed)));
        }
        Err(error) => {
            file_metrics.record_invalid();
            tracing::error!(%pool, %error, "cannot reload the endpoints file; keeping the last valid version");
        }
    };
    tokio::spawn(endpoints_file::watch(path, CHECK_INTERVAL, defaults, on_change));
    tokio::spawn(keep_current(changes, sets, system_lookup(), MAX_UNKNOWN));
    receiver
}

/// Keeps `sets` at the contents of the file, with the addresses that its host names have. Waits for each name to have one
/// before it first sends, but no longer than `max_unknown`.
async fn keep_current(
    mut files: watch::Receiver<Arc<Parsed>>,
    sets: watch::Sender<PoolSet>,
    lookup: Lookup,
    max_unknown: Duration,
) {
    let mut addresses = HostAddresses::new(lookup);
    let mut rounds = interval(RESOLVE_INTERVAL);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_unknown, unknown_until) = (true, Instant::now() + max_unknown);
    loop {
        let contents = Arc::clone(&files.borrow_and_update());
        is_unknown &= !addresses.has_all(&contents.named);
        if !is_unknown {
            publish(&contents, &mut addresses, &sets);
        }
        tokio::select! {
            changed = files.changed() => match changed {
                Ok(()) => rounds.reset_immediately(),
                Err(_) => return,
            },
            () = sets.closed() => return,
            _ = rounds.tick(), if !contents.named.is_empty() => addresses.resolve(&contents.named),
            () = addresses.next_answer() => {}
            () = sleep_until(unknown_until), if is_unknown => {
                is_unknown = false;
                let pool = &contents.spec.id;
                tracing::warn!(%pool, "serving the pool without the endpoints of host names that have no address yet");
            }
        }
    }
}

fn publish(contents: &Parsed, addresses: &mut HostAddresses, sets: &watch::Sender<PoolSet>) {
    let mut spec = contents.spec.clone();
    addresses.add_endpoints(&contents.named, &mut spec.endpoints);
    let (pool, endpoints) = (spec.id.clone(), spec.endpoints.len());
    let (objectives, rewrites) = (spec.models.objectives().len(), spec.models.rewrites().len());
    let set = PoolSet::of(spec, contents.port);
    if sets.send_if_modified(|last| replace_if_new(last, set)) {
        tracing::info!(%pool, endpoints, objectives, rewrites, "the contents of the endpoints file changed");
    }
}

/// Replaces the last value by a new one; returns whether they differ.
fn replace_if_new<T: PartialEq>(last: &mut T, new: T) -> bool {
    let is_new = *last != new;
    if is_new {
        *last = new;
    }
    is_new
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;
    use signalbox_types::PoolSpec;

    use super::*;

    fn text(pool: &str, rest: &str) -> String {
        format!("apiVersion: signalbox/v1\nkind: Endpoints\npool: {{ name: {pool} }}\nendpoints: {rest}\n")
    }

    fn watched(path: &Path, metrics: &Metrics) -> watch::Receiver<PoolSet> {
        let defaults = PageSettings::default();
        watch_file(path.to_owned(), endpoints_file::read(path, &defaults).unwrap(), defaults, metrics)
    }

    fn only_spec(set: &PoolSet) -> Arc<PoolSpec> {
        assert!(set.is_synced && set.pools.len() == 1);
        Arc::clone(&set.pools.values().next().unwrap().spec)
    }

    #[tokio::test]
    async fn change_of_objectives_alone_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoints.yaml");
        fs::write(&path, text("one", "[]")).unwrap();
        let metrics = Metrics::register(&mut Registry::default());
        let mut sets = watched(&path, &metrics);
        for priority in [3, -3] {
            let objective = format!(
                "[]\n---\napiVersion: llm-d.ai/v1alpha2\nkind: InferenceObjective\nmetadata: {{ name: o }}\n\
                 spec: {{ poolRef: {{ name: one }}, priority: {priority} }}"
            );
            fs::write(&path, text("one", &objective)).unwrap();
            sets.changed().await.unwrap();
            assert_eq!(priority, only_spec(&sets.borrow_and_update()).models.priority(Some("o")));
        }
    }

    #[tokio::test]
    async fn file_that_names_another_pool_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoints.yaml");
        let write = |pool: &str, rest: &str| fs::write(&path, text(pool, rest)).unwrap();
        write("one", "[]");
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let has_line = |wanted: &str| {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text.lines().any(|line| line == wanted)
        };
        let mut sets = watched(&path, &metrics);
        write("two", "[]");
        while !has_line("endpoints_file_valid{pool=\"default/one\"} 0") {
            tokio::task::yield_now().await;
        }
        assert!(has_line("endpoints_file_errors_total{pool=\"default/one\"} 1"));
        write("one", "[{ name: pod, address: \"127.0.0.1:1\" }]");
        sets.changed().await.unwrap();
        let spec = only_spec(&sets.borrow());
        assert_eq!(("one", 1), (spec.id.name.as_str(), spec.endpoints.len()));
        assert!(has_line("endpoints_file_valid{pool=\"default/one\"} 1"));
    }

    #[tokio::test]
    async fn host_names_are_resolved_before_the_pool_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoints.yaml");
        fs::write(&path, text("one", "[{ name: pod, address: \"localhost:8000\" }]")).unwrap();
        let metrics = Metrics::register(&mut Registry::default());
        let mut sets = watched(&path, &metrics);
        assert!(!sets.borrow().is_synced);
        let set = sets.wait_for(|set| set.is_synced).await.unwrap().clone();
        let endpoints = &only_spec(&set).endpoints;
        assert!(!endpoints.is_empty());
        assert!(endpoints.iter().all(|endpoint| endpoint.address.ip().is_loopback()), "{endpoints:?}");
    }

    /// Keeps a pool with a fixed endpoint and one that has the host name `pod`. Returns the file and the pool.
    fn kept_current(
        lookup: Lookup,
        max_unknown: Duration,
    ) -> (watch::Sender<Arc<Parsed>>, watch::Receiver<PoolSet>) {
        let endpoints = "[{ name: fixed, address: \"10.0.0.9:1\" }, { name: pod, address: \"pod:1\" }]";
        let contents = endpoints_file::parse(&text("one", endpoints), &PageSettings::default()).unwrap();
        let (files, changes) = watch::channel(Arc::new(contents));
        let (sets, receiver) = watch::channel(PoolSet::default());
        tokio::spawn(keep_current(changes, sets, lookup, max_unknown));
        (files, receiver)
    }

    fn names(set: &PoolSet) -> Vec<String> {
        only_spec(set).endpoints.iter().map(|endpoint| endpoint.name.clone()).collect()
    }

    #[tokio::test]
    async fn pool_is_unknown_while_a_name_has_no_address_and_then_served_without_it() {
        let day = Duration::from_secs(86_400);
        for (max_unknown, expected) in [(day, &["fixed", "pod-10.0.0.1"][..]), (Duration::ZERO, &["fixed"])] {
            // The first lookup fails. A change of the file starts the second.
            let count = Arc::new(AtomicUsize::new(0));
            let (counted, is_short) = (Arc::clone(&count), max_unknown.is_zero());
            let lookup: Lookup = Arc::new(move |_| {
                let fails = counted.fetch_add(1, Ordering::Relaxed) == 0 || is_short;
                let found = if fails {
                    Err("no answer".to_owned())
                } else {
                    Ok(["10.0.0.1".parse().unwrap()].into())
                };
                std::future::ready(found).boxed()
            });
            let (files, mut sets) = kept_current(lookup, max_unknown);
            while count.load(Ordering::Relaxed) < 2 {
                files.send_modify(|_| {});
                tokio::task::yield_now().await;
            }
            let set = sets.wait_for(|set| set.is_synced).await.unwrap().clone();
            assert_eq!(*expected, *names(&set));
        }
    }

    #[tokio::test]
    async fn slow_lookup_does_not_delay_changes_of_the_file() {
        let (files, mut sets) = kept_current(Arc::new(|_| std::future::pending().boxed()), Duration::ZERO);
        assert_eq!(["fixed"], *names(&sets.wait_for(|set| set.is_synced).await.unwrap().clone()));
        let renamed =
            text("one", "[{ name: other, address: \"10.0.0.9:1\" }, { name: pod, address: \"pod:1\" }]");
        files.send_replace(Arc::new(endpoints_file::parse(&renamed, &PageSettings::default()).unwrap()));
        let is_renamed = |set: &PoolSet| names(set) == ["other"];
        sets.wait_for(is_renamed).await.unwrap();
    }
}
