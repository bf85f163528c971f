//! Metrics pages behind https.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use signalbox_collector::ScrapeConfig;
use signalbox_state::{AssignedEndpoint, ScrapeStatus};
use signalbox_tls::{PageTls, PageTlsFiles};
use signalbox_types::MetricsTls;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use crate::fake_aggregator::FakeAggregator;
use crate::fake_model_server::{FakeModelServer, Page};
use crate::{TIMEOUT, assigned, start_collector_trusting};

const PAGE: Page = Page::Gauges { waiting: 0, running: 1 };

/// Long timeouts, so that only a certificate makes values stale.
fn scrape() -> ScrapeConfig {
    ScrapeConfig { timeout: TIMEOUT, stale_after: TIMEOUT, ..ScrapeConfig::default() }
}

/// A certificate authority and a folder with its certificate.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca")
    }

    /// Starts a model server with a certificate for `name`.
    fn server(&self, name: &str) -> FakeModelServer {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer);
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate.unwrap().der().clone()], key).unwrap();
        FakeModelServer::start_tls(PAGE, TlsAcceptor::from(Arc::new(config)))
    }
}

fn unverified(assigned: AssignedEndpoint) -> AssignedEndpoint {
    AssignedEndpoint { metrics_tls: MetricsTls::Unverified, ..assigned }
}

async fn wait_for_status(aggregator: &FakeAggregator, name: &str, wanted: ScrapeStatus) {
    let has_status = |status: ScrapeStatus| if status == wanted { Some(()) } else { None };
    aggregator
        .wait_for("the scrape status", |received| has_status(received.merged_update(name).scrape_status))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verified_page_is_read_on_one_connection() {
    let authority = Authority::new();
    let pod = authority.server("127.0.0.1");
    let aggregator = FakeAggregator::start(vec![assigned("pod", 1, &pod)]);
    let tls = PageTls::with_files(PageTlsFiles { ca: Some(authority.file()), own: None }).unwrap();
    let collector = start_collector_trusting(tls, &[aggregator.address()], scrape()).await;
    wait_for_status(&aggregator, "pod", ScrapeStatus::Fresh).await;
    pod.set_page(Page::Gauges { waiting: 0, running: 2 });
    let is_new = |gauges: &(u32, u32)| *gauges == (0, 2);
    aggregator.wait_for("new gauges", |received| received.latest_gauges("pod").filter(is_new)).await;
    pod.wait_for_requests(5).await;
    assert_eq!(1, pod.connections(), "the connection is kept");
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_certificates_are_accepted_only_without_verification() {
    let authority = Authority::new();
    let (foreign, misnamed) = (Authority::new().server("127.0.0.1"), authority.server("vllm.default.svc"));
    let verified = [assigned("foreign", 1, &foreign), assigned("misnamed", 1, &misnamed)];
    let aggregator = FakeAggregator::start(verified.to_vec());
    let tls = PageTls::with_files(PageTlsFiles { ca: Some(authority.file()), own: None }).unwrap();
    let collector = start_collector_trusting(tls, &[aggregator.address()], scrape()).await;
    wait_for_status(&aggregator, "foreign", ScrapeStatus::Stale).await;
    wait_for_status(&aggregator, "misnamed", ScrapeStatus::Stale).await;
    assert_eq!((0, 0), (foreign.requests(), misnamed.requests()));
    // As when the annotation is added to a running pod.
    aggregator.assign(1, verified.map(unverified).to_vec());
    wait_for_status(&aggregator, "foreign", ScrapeStatus::Fresh).await;
    wait_for_status(&aggregator, "misnamed", ScrapeStatus::Fresh).await;
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_authorities_file_is_used_without_a_restart() {
    let (ours, next) = (Authority::new(), Authority::new());
    let pod = next.server("127.0.0.1");
    let aggregator = FakeAggregator::start(vec![assigned("pod", 1, &pod)]);
    let tls = PageTls::with_files(PageTlsFiles { ca: Some(ours.file()), own: None }).unwrap();
    let collector = start_collector_trusting(tls, &[aggregator.address()], scrape()).await;
    wait_for_status(&aggregator, "pod", ScrapeStatus::Stale).await;
    fs::copy(next.file(), ours.file()).unwrap();
    wait_for_status(&aggregator, "pod", ScrapeStatus::Fresh).await;
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_names_the_flag_and_the_annotation_that_help() {
    let (ours, pod) = (Authority::new(), Authority::new().server("127.0.0.1"));
    let aggregator = FakeAggregator::start(vec![assigned("pod", 1, &pod)]);
    let mut collector = Command::new(env!("CARGO_BIN_EXE_signalbox-collector"));
    collector.args(["--aggregator", &aggregator.address().to_string(), "--metrics-bind", "127.0.0.1"]);
    collector.args(["--metrics-port", "0", "--metrics-ca"]).arg(ours.file()).stderr(Stdio::piped());
    let mut collector = collector.spawn().unwrap();
    let lines = BufReader::new(collector.stderr.take().unwrap()).lines().map(Result::unwrap);
    let found =
        tokio::task::spawn_blocking(|| lines.into_iter().find(|line| line.contains("scrape status changed")));
    let line = found.await.unwrap().expect("the reason is logged");
    collector.kill().unwrap();
    collector.wait().unwrap();
    for part in ["--metrics-ca", "signalbox.dev/metrics-insecure-skip-verify"] {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn unusable_authorities_file_is_rejected_at_the_start() {
    let flags = ["--aggregator", "127.0.0.1:1", "--metrics-ca", "/nowhere/ca"];
    let output = Command::new(env!("CARGO_BIN_EXE_signalbox-collector")).args(flags).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(Some(64), output.status.code(), "{message}");
    assert!(message.contains("cannot read --metrics-ca /nowhere/ca"), "{message}");
}
