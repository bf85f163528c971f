//! How the API server presents its clients to aggregated API servers: a ConfigMap says so.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::runtime::watcher;
use kube::runtime::watcher::Event;
use signalbox_metrics_api::RequestHeaderNames;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::causes::causes;
use crate::cluster::Cluster;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// After how many seconds the API server ends a watch, which then goes on.
const WATCH_SECONDS: u32 = 60;

/// Pause after a failure.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// How clients prove who they are, as the ConfigMap `kube-system/extension-apiserver-authentication` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthenticationConfig {
    /// Authorities (PEM) of the certificates of front proxies. Empty: no front proxy is trusted.
    pub front_proxy_ca: String,
    /// Authorities (PEM) of the certificates of clients. Empty: none is trusted.
    pub client_ca: String,
    /// How a front proxy names a user.
    pub names: RequestHeaderNames,
}

impl AuthenticationConfig {
    fn read(data: &BTreeMap<String, String>) -> Result<Self, String> {
        let text = |key: &str| data.get(key).cloned().unwrap_or_default();
        let list = |key: &str| match data.get(key).map(|text| text.trim()).filter(|text| !text.is_empty()) {
            Some(text) => serde_json::from_str(text).map_err(|error| format!("{key}: {error}")),
            None => Ok(Vec::new()),
        };
        Ok(Self {
            front_proxy_ca: text("requestheader-client-ca-file"),
            client_ca: text("client-ca-file"),
            names: RequestHeaderNames {
                allowed: list("requestheader-allowed-names")?,
                username: list("requestheader-username-headers")?,
                group: list("requestheader-group-headers")?,
                extra_prefixes: list("requestheader-extra-headers-prefix")?,
                uid: list("requestheader-uid-headers")?,
            },
        })
    }
}

/// Watches the ConfigMap until nobody has the receiver any more. `None` until it was read for the first time; what was
/// read last stays while the API server is away.
pub fn watch_authentication_config(cluster: &Cluster) -> watch::Receiver<Option<AuthenticationConfig>> {
    let (sender, receiver) = watch::channel(None);
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), NAMESPACE);
    tokio::spawn(async move {
        tokio::select! {
            () = follow(maps, &sender) => {}
            () = sender.closed() => {}
        }
    });
    receiver
}

async fn follow(maps: Api<ConfigMap>, sender: &watch::Sender<Option<AuthenticationConfig>>) {
    let config = watcher::Config::default().fields(&format!("metadata.name={NAME}")).timeout(WATCH_SECONDS);
    let mut events = pin!(watcher(maps, config));
    let mut failure = None;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(map) | Event::InitApply(map)) => {
                failure = None;
                publish(&map, sender);
            }
            Ok(Event::Init | Event::InitDone | Event::Delete(_)) => {}
            Err(error) => {
                let error = causes(&error);
                if failure.as_ref() != Some(&error) {
                    tracing::error!(
                        error,
                        "cannot watch the ConfigMap {NAMESPACE}/{NAME}, which says how clients of the metrics API prove who \
                         they are; bind the Role extension-apiserver-authentication-reader in {NAMESPACE}; retrying"
                    );
                    failure = Some(error);
                }
                sleep(RETRY_DELAY).await;
            }
        }
    }
}

fn publish(map: &ConfigMap, sender: &watch::Sender<Option<AuthenticationConfig>>) {
    match AuthenticationConfig::read(map.data.as_ref().unwrap_or(&BTreeMap::new())) {
        Ok(config) => {
            sender.send_if_modified(|known| {
                let is_new = known.as_ref() != Some(&config);
                *known = Some(config);
                is_new
            });
        }
        Err(error) => tracing::error!(
            error,
            "cannot read the ConfigMap {NAMESPACE}/{NAME}; keeping what it said before"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn lists_are_json_and_may_be_absent() {
        let read = AuthenticationConfig::read(&data(&[
            ("requestheader-client-ca-file", "PEM"),
            ("requestheader-allowed-names", r#"["front-proxy"]"#),
            ("requestheader-username-headers", "[\"X-Remote-User\"]\n"),
            ("requestheader-group-headers", ""),
        ]));
        let expected = AuthenticationConfig {
            front_proxy_ca: "PEM".to_owned(),
            names: RequestHeaderNames {
                allowed: vec!["front-proxy".to_owned()],
                username: vec!["X-Remote-User".to_owned()],
                ..RequestHeaderNames::default()
            },
            ..AuthenticationConfig::default()
        };
        assert_eq!(Ok(expected), read);
        let error = AuthenticationConfig::read(&data(&[("requestheader-allowed-names", "front-proxy")]));
        assert!(error.unwrap_err().starts_with("requestheader-allowed-names: "));
    }
}
