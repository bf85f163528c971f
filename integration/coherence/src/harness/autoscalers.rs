//! Asks an aggregator for the number of replicas as autoscalers do: KEDA by gRPC, the HPA through the front proxy of the API
//! server.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use signalbox_integration::{CertificateAuthority, TestDir, eventually};
use signalbox_protos::keda::externalscaler::external_scaler_client::ExternalScalerClient;
use signalbox_protos::keda::externalscaler::{GetMetricsRequest, ScaledObjectRef};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Channel;

use super::api_server::ApiServer;

/// Connections of each kind.
const CONNECTIONS: usize = 4;

const NAMESPACE: &str = "default";
const POOL: &str = "llama3";

/// What the HPA asks for, by way of the front proxy. Members of the group may do everything, so nobody is asked.
const REQUEST: &str = "GET /apis/custom.metrics.k8s.io/v1beta2/namespaces/default/\
                       inferencepools.inference.networking.k8s.io/llama3/signalbox_desired_replicas HTTP/1.1\r\n\
                       host: localhost\r\nx-remote-user: hpa\r\nx-remote-group: system:masters\r\n\r\n";

/// What an aggregator needs to serve autoscalers, and their credentials.
#[derive(Debug)]
pub(crate) struct Autoscaling {
    keda: SocketAddr,
    metrics_api: SocketAddr,
    server_folder: PathBuf,
    client: Arc<ClientConfig>,
    api_server: ApiServer,
    _scratch: TestDir,
}

/// How long answers took, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct AnswerTimes {
    pub(crate) keda_ms: Vec<f64>,
    pub(crate) metrics_api_ms: Vec<f64>,
}

impl Autoscaling {
    /// Prepares an aggregator that listens for KEDA and for the API server at these addresses.
    ///
    /// # Errors
    /// Fails when the certificates cannot be made.
    pub(crate) async fn prepare(keda: SocketAddr, metrics_api: SocketAddr) -> anyhow::Result<Self> {
        let scratch = TestDir::new()?;
        let authority = CertificateAuthority::new(&scratch, "authority")?;
        let server_folder = scratch.path().join("server");
        fs::create_dir(&server_folder)?;
        let (certificate, key) = authority.issue(&scratch, "localhost")?;
        fs::copy(certificate, server_folder.join("tls.crt"))?;
        fs::copy(key, server_folder.join("tls.key"))?;
        let client = client_config(authority.file(), &authority.issue(&scratch, "front-proxy")?)?;
        let api_server = ApiServer::start(&scratch, &fs::read_to_string(authority.file())?).await?;
        Ok(Self { keda, metrics_api, server_folder, client, api_server, _scratch: scratch })
    }

    /// Returns the aggregator's flags.
    pub(crate) fn flags(&self) -> Vec<(&'static str, String)> {
        vec![
            ("--keda-port", self.keda.port().to_string()),
            ("--metrics-api-port", self.metrics_api.port().to_string()),
            ("--metrics-api-cert-path", self.server_folder.display().to_string()),
            ("--kubeconfig", self.api_server.kubeconfig.display().to_string()),
        ]
    }

    /// Waits until both are answered with a number.
    ///
    /// # Errors
    /// Fails when they are not in time.
    pub(crate) async fn wait_until_answered(&self) -> anyhow::Result<()> {
        let is_answered = async || {
            self.connect_keda().await?.ask().await?;
            self.connect_front_proxy().await?.ask().await
        };
        eventually("autoscalers are answered", is_answered).await
    }

    /// Asks `per_second` times a second in all, half of it as each autoscaler.
    ///
    /// # Errors
    /// Fails when a question is not answered with a number.
    pub(crate) async fn ask(&self, per_second: f64, time: Duration) -> anyhow::Result<AnswerTimes> {
        let each = per_second / (2 * CONNECTIONS) as f64;
        let (mut keda, mut metrics_api) = (JoinSet::new(), JoinSet::new());
        for _ in 0..CONNECTIONS {
            keda.spawn(self.connect_keda().await?.ask_repeatedly(each, time));
            metrics_api.spawn(self.connect_front_proxy().await?.ask_repeatedly(each, time));
        }
        Ok(AnswerTimes { keda_ms: collect(keda).await?, metrics_api_ms: collect(metrics_api).await? })
    }

    async fn connect_keda(&self) -> anyhow::Result<Autoscaler> {
        Ok(Autoscaler::Keda(ExternalScalerClient::connect(format!("http://{}", self.keda)).await?))
    }

    async fn connect_front_proxy(&self) -> anyhow::Result<Autoscaler> {
        let stream = TcpStream::connect(self.metrics_api).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(Arc::clone(&self.client)).connect(name, stream).await?;
        Ok(Autoscaler::Hpa(Box::new(BufReader::new(stream))))
    }
}

/// A connection of an autoscaler.
enum Autoscaler {
    Keda(ExternalScalerClient<Channel>),
    /// That of the front proxy, which passes requests of the HPA on.
    Hpa(Box<BufReader<TlsStream<TcpStream>>>),
}

impl Autoscaler {
    async fn ask(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Keda(client) => ask_keda(client).await,
            Self::Hpa(stream) => ask_metrics_api(stream).await,
        }
    }

    /// Asks at a constant rate, one question at a time; returns how long each answer took, in milliseconds.
    async fn ask_repeatedly(mut self, per_second: f64, time: Duration) -> anyhow::Result<Vec<f64>> {
        let mut ticks = interval(Duration::from_secs_f64(1.0 / per_second));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (until, mut took_ms) = (Instant::now() + time, Vec::new());
        while ticks.tick().await.into_std() < until {
            let asked_at = Instant::now();
            self.ask().await?;
            took_ms.push(asked_at.elapsed().as_secs_f64() * 1e3);
        }
        Ok(took_ms)
    }
}

async fn ask_keda(client: &mut ExternalScalerClient<Channel>) -> anyhow::Result<()> {
    let trigger = ScaledObjectRef {
        name: POOL.to_owned(),
        namespace: NAMESPACE.to_owned(),
        scaler_metadata: HashMap::from([("inferencePool".to_owned(), POOL.to_owned())]),
    };
    let request = GetMetricsRequest { scaled_object_ref: Some(trigger), ..GetMetricsRequest::default() };
    client.get_metrics(request).await?.into_inner().metric_values.first().context("no value")?;
    Ok(())
}

async fn ask_metrics_api(stream: &mut BufReader<TlsStream<TcpStream>>) -> anyhow::Result<()> {
    stream.write_all(REQUEST.as_bytes()).await?;
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let start = head.len();
        ensure!(stream.read_line(&mut head).await? > 0, "the connection ended after {head:?}");
        if let Some(value) = head[start..].strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{head}{}", String::from_utf8_lossy(&body));
    Ok(())
}

async fn collect(mut tasks: JoinSet<anyhow::Result<Vec<f64>>>) -> anyhow::Result<Vec<f64>> {
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.extend(done.context("a task that asks panicked")??);
    }
    Ok(all)
}

fn client_config(ca: &Path, (certificate, key): &(PathBuf, PathBuf)) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let own = vec![CertificateDer::from_pem_file(certificate)?];
    let config =
        config.with_root_certificates(roots).with_client_auth_cert(own, PrivateKeyDer::from_pem_file(key)?);
    Ok(Arc::new(config?))
}
