//! Pools from endpoints files.

use std::path::PathBuf;
use std::time::Duration;

use signalbox_types::PageSettings;
use tokio::sync::watch;

use super::host_addresses::HostAddresses;
use super::set::PoolSet;
use crate::endpoints_file::{self, Parsed, ReadError};
use crate::metrics::Metrics;

/// How often the endpoints file is checked for changes.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// How often host names in the endpoints file are resolved.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(5);

/// Watches the pool of the endpoints file at `path`, whose current contents are given. A pool with host names is known
/// when they were resolved once.
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
    let (files, changes) = watch::channel(contents);
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
            files.send_if_modified(|last| std::mem::replace(last, parsed.clone()) != parsed);
        }
        Err(error) => {
            file_metrics.record_invalid();
            tracing::error!(%pool, %error, "cannot reload the endpoints file; keeping the last valid version");
        }
    };
    tokio::spawn(endpoints_file::watch(path, CHECK_INTERVAL, defaults, on_change));
    tokio::spawn(keep_current(changes, sets, RESOLVE_INTERVAL));
    receiver
}

/// Keeps `sets` at the contents of the file, with the addresses that its host names have.
async fn keep_current(
    mut files: watch::Receiver<Parsed>,
    sets: watch::Sender<PoolSet>,
    resolve_interval: Duration,
) {
    let mut addresses = HostAddresses::default();
    loop {
        let Parsed { mut spec, named, port, .. } = files.borrow_and_update().clone();
        addresses.resolve(named.iter().map(|named| &*named.host)).await;
        addresses.add_endpoints(&named, &mut spec.endpoints);
        let (pool, endpoints) = (spec.id.clone(), spec.endpoints.len());
        let (objectives, rewrites) = (spec.models.objectives().len(), spec.models.rewrites().len());
        let set = PoolSet::of(spec, port);
        if sets.send_if_modified(|before| std::mem::replace(before, set.clone()) != set) {
            tracing::info!(%pool, endpoints, objectives, rewrites, "the contents of the endpoints file changed");
        }
        tokio::select! {
            changed = files.changed() => if changed.is_err() { return },
            () = sets.closed() => return,
            () = tokio::time::sleep(resolve_interval), if !named.is_empty() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

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
}
