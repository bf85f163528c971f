//! The connection to a cluster's API server.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use thiserror::Error;

use crate::causes::causes;

/// How to reach a cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterSettings {
    /// File that names the API server and how to log in. `None`: the pod's service account, or the file that
    /// `$KUBECONFIG` names.
    pub kubeconfig: Option<PathBuf>,
}

/// A cluster cannot be reached as configured.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error(
        "cannot use the kubeconfig {}{}: {error}; correct the file, or give another with --kubeconfig; \
         `kubectl --kubeconfig {} get pods` must work",
        .file.display(), for_server(.server.as_deref()), .file.display()
    )]
    Kubeconfig {
        /// The file.
        file: PathBuf,
        /// URL of the API server, if it could be read.
        server: Option<String>,
        /// What is wrong with it.
        error: String,
    },
    /// No kubeconfig is given, and this process does not run in a pod with a service account.
    #[error(
        "cannot find the Kubernetes API server: {0}; run in a pod with a service account, or give --kubeconfig"
    )]
    NotFound(String),
    /// The settings cannot be used, for example because of a wrong certificate.
    #[error(
        "cannot use the settings of {login} for the API server {server}: {error}; \
         correct the certificates and the credentials there"
    )]
    Client {
        /// URL of the API server.
        server: String,
        /// Where the settings are from.
        login: String,
        /// What is wrong.
        error: String,
    },
}

/// Time limit for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For how long a connection that is in use may be silent. A quiet watch ends before.
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// A connection to a cluster's API server. Clones share it.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    server: String,
    login: String,
    default_namespace: String,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Reads the settings. The API server need not be available: requests connect when they are sent.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(settings: &ClusterSettings) -> Result<Self, ConnectError> {
        let (mut config, login) = match &settings.kubeconfig {
            Some(file) => (from_file(file).await?, format!("the kubeconfig {}", file.display())),
            None => infer(env::var_os("KUBECONFIG")).await?,
        };
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        config.reset_reader_on_write = true;
        // Callers know better when to try again: the library does it up to 15 times, for minutes, unseen.
        config.default_retry = false;
        let (server, default_namespace) = (config.cluster_url.to_string(), config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| ConnectError::Client {
            server: server.clone(),
            login: login.clone(),
            error: error.to_string(),
        })?;
        Ok(Self { client, server, login, default_namespace })
    }

    /// Returns the URL of the API server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Describes where the address of the API server and the credentials are from, e.g. `the kubeconfig
    /// FILE`.
    pub fn login(&self) -> &str {
        &self.login
    }

    /// Returns the namespace of the service account or of the kubeconfig's context.
    pub fn default_namespace(&self) -> &str {
        &self.default_namespace
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }
}

fn for_server(server: Option<&str>) -> String {
    server.map(|server| format!(" for the API server {server}")).unwrap_or_default()
}

async fn from_file(file: &Path) -> Result<Config, ConnectError> {
    let unusable = |server: Option<String>, error: KubeconfigError| ConnectError::Kubeconfig {
        file: file.to_owned(),
        server,
        error: causes(&error),
    };
    let kubeconfig = Kubeconfig::read_from(file).map_err(|error| unusable(None, error))?;
    let server = current_server(&kubeconfig).map(str::to_owned);
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    config.map_err(|error| unusable(server, error))
}

/// Returns the URL of the API server of the current context.
fn current_server(kubeconfig: &Kubeconfig) -> Option<&str> {
    let current = kubeconfig.current_context.as_ref()?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == *current)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster)?;
    cluster.cluster.as_ref()?.server.as_deref()
}

/// Returns the settings of the pod's service account or else of the files that `$KUBECONFIG` names, whose value is
/// given, and where they are from.
async fn infer(kubeconfig: Option<OsString>) -> Result<(Config, String), ConnectError> {
    if let Ok(config) = Config::incluster() {
        return Ok((config, "the pod's service account".to_owned()));
    }
    let files: Vec<_> =
        kubeconfig.iter().flat_map(env::split_paths).filter(|file| file != Path::new("")).collect();
    // An error that names the file is possible if there is one only: of several, each can be right.
    if let [file] = files.as_slice() {
        return Ok((from_file(file).await?, format!("the kubeconfig {}", file.display())));
    }
    let not_found = |error: InferConfigError| ConnectError::NotFound(causes(&error));
    Ok((Config::infer().await.map_err(not_found)?, "$KUBECONFIG or ~/.kube/config".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn error_of(content: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let settings = ClusterSettings { kubeconfig: Some(file.path().to_owned()) };
        let error = Cluster::connect(&settings).await.unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
        error
    }

    #[tokio::test]
    async fn errors_name_the_file_and_what_to_do() {
        let missing = ClusterSettings { kubeconfig: Some("/does/not/exist".into()) };
        let error = Cluster::connect(&missing).await.unwrap_err().to_string();
        assert!(error.contains("/does/not/exist") && error.contains("No such file"), "{error}");
        assert!(error.contains("--kubeconfig"), "{error}");
        error_of("not: [valid").await;
        error_of("apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\n").await;
        let without_server = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
            contexts: [{ name: c, context: { cluster: c, user: u } }]\nclusters: [{ name: c, cluster: {} }]\n\
            users: [{ name: u, user: {} }]\n";
        let error = error_of(without_server).await;
        assert!(error.contains("cluster url is missing"), "{error}");
        let without_authority = without_server.replace(
            "cluster: {}",
            "cluster: { server: 'https://10.0.0.1:6443', certificate-authority: /does/not/exist }",
        );
        let error = error_of(&without_authority).await;
        assert!(
            error.contains("certificate authority") && error.contains("https://10.0.0.1:6443"),
            "{error}"
        );
        let without_key = without_server
            .replace("cluster: {}", "cluster: { server: 'https://10.0.0.1:6443' }")
            .replace("user: {}", "user: { client-certificate-data: bm8=, client-key-data: bm8= }");
        let error = error_of(&without_key).await;
        assert!(error.contains("https://10.0.0.1:6443"), "{error}");
    }

    #[tokio::test]
    async fn the_file_that_the_environment_names_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "not: [valid").unwrap();
        let mut value = file.path().as_os_str().to_owned();
        for separator in ["", ":"] {
            value.push(separator);
            let error = infer(Some(value.clone())).await.unwrap_err().to_string();
            assert!(error.contains(&file.path().display().to_string()), "{error}");
            assert!(error.contains("--kubeconfig"), "{error}");
        }
    }
}
