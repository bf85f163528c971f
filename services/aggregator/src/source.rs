//! Where a pool comes from, and what it is now.

use std::path::PathBuf;
use std::time::Duration;

use signalbox_types::PoolSpec;
use tokio::sync::watch;

use crate::endpoints_file::{self, ReadError};
use crate::metrics::Metrics;

/// How often the endpoints file is looked at.
const ENDPOINTS_FILE_EVERY: Duration = Duration::from_millis(250);

/// Where the pool comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file, read already, that is read again when it changes.
    File(PathBuf, PoolSpec),
    /// A pool that stays as it is.
    Fixed(PoolSpec),
}

/// The pool as `source` has it, now and later.
pub(crate) fn follow(source: Source, metrics: &Metrics) -> watch::Receiver<PoolSpec> {
    match source {
        Source::Fixed(spec) => watch::channel(spec).1,
        Source::File(path, spec) => {
            let (pool, health) = (spec.id.clone(), metrics.of_file(&spec.id));
            let (specs, followed) = watch::channel(spec);
            let on_change = move |read: Result<PoolSpec, ReadError>| match read {
                Ok(spec) if spec.id != pool => {
                    health.refused();
                    let now = spec.id;
                    tracing::error!(
                        %pool, %now,
                        "endpoints file refused, it names another pool: restart the aggregator, or name the pool as before"
                    );
                }
                Ok(spec) => {
                    health.accepted();
                    let endpoints = spec.endpoints.len();
                    let (objectives, rewrites) =
                        (spec.models.objectives().len(), spec.models.rewrites().len());
                    let changes = |before: &mut PoolSpec| std::mem::replace(before, spec.clone()) != spec;
                    if specs.send_if_modified(changes) {
                        tracing::info!(endpoints, objectives, rewrites, "endpoints file read again");
                    }
                }
                Err(error) => {
                    health.refused();
                    tracing::error!(%error, "endpoints file refused, the last good one stays in use");
                }
            };
            tokio::spawn(endpoints_file::watch(path, ENDPOINTS_FILE_EVERY, on_change));
            followed
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    fn text(pool: &str, rest: &str) -> String {
        format!("apiVersion: signalbox/v1\nkind: Endpoints\npool: {{ name: {pool} }}\nendpoints: {rest}\n")
    }

    #[tokio::test]
    async fn what_is_said_of_models_is_told_when_it_alone_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoints.yaml");
        fs::write(&path, text("one", "[]")).unwrap();
        let metrics = Metrics::register(&mut Registry::default());
        let mut specs = follow(Source::File(path.clone(), endpoints_file::read(&path).unwrap()), &metrics);
        for priority in [3, -3] {
            let objective = format!(
                "[]\n---\napiVersion: llm-d.ai/v1alpha2\nkind: InferenceObjective\nmetadata: {{ name: o }}\n\
                 spec: {{ poolRef: {{ name: one }}, priority: {priority} }}"
            );
            fs::write(&path, text("one", &objective)).unwrap();
            specs.changed().await.unwrap();
            assert_eq!(priority, specs.borrow_and_update().models.priority(Some("o")));
        }
    }

    #[tokio::test]
    async fn a_file_that_names_another_pool_is_refused_and_the_last_good_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoints.yaml");
        let write = |pool: &str, rest: &str| fs::write(&path, text(pool, rest)).unwrap();
        write("one", "[]");
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let shows = |wanted: &str| {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text.lines().any(|line| line == wanted)
        };
        let mut specs = follow(Source::File(path.clone(), endpoints_file::read(&path).unwrap()), &metrics);
        write("two", "[]");
        while !shows("endpoints_file_valid{pool=\"default/one\"} 0") {
            tokio::task::yield_now().await;
        }
        assert!(shows("endpoints_file_errors_total{pool=\"default/one\"} 1"));
        write("one", "[{ name: pod, address: \"127.0.0.1:1\" }]");
        specs.changed().await.unwrap();
        assert_eq!(("one", 1), (specs.borrow().id.name.as_str(), specs.borrow().endpoints.len()));
        assert!(shows("endpoints_file_valid{pool=\"default/one\"} 1"));
    }
}
