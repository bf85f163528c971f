//! Pools from endpoints files.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

use super::set::PoolSet;
use crate::endpoints_file::{self, Parsed, ReadError};
use crate::metrics::Metrics;

/// How often the endpoints file is checked for changes.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Watches the pool of the endpoints file at `path`, whose current contents are given.
pub(super) fn watch_file(path: PathBuf, contents: Parsed, metrics: &Metrics) -> watch::Receiver<PoolSet> {
    let Parsed { spec, port, .. } = contents;
    let (pool, file_metrics) = (spec.id.clone(), metrics.endpoints_file(&spec.id));
    let (sets, receiver) = watch::channel(PoolSet::of(spec, port));
    let on_change = move |read: Result<Parsed, ReadError>| match read {
        Ok(Parsed { spec, .. }) if spec.id != pool => {
            file_metrics.record_invalid();
            let named = spec.id;
            tracing::error!(
                %pool, %named,
                "the endpoints file names another pool; keeping the last valid version; restore the name or restart the aggregator"
            );
        }
        Ok(Parsed { spec, port, .. }) => {
            file_metrics.record_valid();
            let endpoints = spec.endpoints.len();
            let (objectives, rewrites) = (spec.models.objectives().len(), spec.models.rewrites().len());
            let set = PoolSet::of(spec, port);
            let replace = |before: &mut PoolSet| std::mem::replace(before, set.clone()) != set;
            if sets.send_if_modified(replace) {
                tracing::info!(%pool, endpoints, objectives, rewrites, "reloaded the endpoints file");
            }
        }
        Err(error) => {
            file_metrics.record_invalid();
            tracing::error!(%pool, %error, "cannot reload the endpoints file; keeping the last valid version");
        }
    };
    tokio::spawn(endpoints_file::watch(path, CHECK_INTERVAL, on_change));
    receiver
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;
    use signalbox_types::PoolSpec;

    use super::*;

    fn text(pool: &str, rest: &str) -> String {
        format!("apiVersion: signalbox/v1\nkind: Endpoints\npool: {{ name: {pool} }}\nendpoints: {rest}\n")
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
        let mut sets = watch_file(path.clone(), endpoints_file::read(&path).unwrap(), &metrics);
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
        let mut sets = watch_file(path.clone(), endpoints_file::read(&path).unwrap(), &metrics);
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
}
