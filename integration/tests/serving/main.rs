//! Tests how a replica serves gateways: TLS, health, reflection, flags and shutdown.

mod activation;
mod gateway_client;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;
use signalbox_integration::{
    CertificateAuthority, Client, Envoy, Fleet, Ports, Process, Service, Signal, TestDir, built_binary,
    eventually,
};
use signalbox_tls::{Security, TlsFlags};
use tonic::transport::Channel;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use gateway_client::{
    EXT_PROC, address, check_serving, connect_gateway, connect_plaintext, finish_request, health_check,
    is_described, listed_services, start_request,
};

const PORTS: [&str; 8] =
    ["--grpc-port", "0", "--grpc-health-port", "0", "--access-log-port", "0", "--metrics-port", "0"];

/// A pool with one pod and an aggregator.
struct Pool {
    dir: TestDir,
    aggregator: String,
    _running: (Fleet, Service),
}

impl Pool {
    async fn start() -> anyhow::Result<Self> {
        let (dir, mut ports) = (TestDir::new()?, Ports::new());
        let fleet = Fleet::start(&dir, 1, &[]).await?;
        let at = ports.take()?;
        let mut aggregator = Service::aggregator("aggregator", (at, at), ports.take()?, fleet.file());
        aggregator.start(&dir).await?;
        Ok(Self { dir, aggregator: at.to_string(), _running: (fleet, aggregator) })
    }

    /// Starts a replica on free ports, with only these additional flags.
    async fn replica(&self, name: &str, more: &[&str]) -> anyhow::Result<(Process, Value)> {
        let flags = ["--aggregator", &self.aggregator, "--bind", "127.0.0.1", "--output", "json"];
        let flags = [&flags[..], &PORTS, more].concat();
        Process::start_ready(&self.dir, "signalbox-epp", name, &flags).await
    }
}

#[tokio::test]
async fn gateways_that_verify_no_certificate_are_served_by_default() {
    let pool = Pool::start().await.unwrap();
    let (_process, ready) = pool.replica("epp", &[]).await.unwrap();
    finish_request(start_request(connect_gateway(&ready).unwrap()).await.unwrap()).await.unwrap();
    check_serving(connect_gateway(&ready).unwrap()).await.unwrap();
    // Kubernetes probes do not use TLS.
    let probe = connect_plaintext(&ready, "health").await.unwrap();
    check_serving(probe.clone()).await.unwrap();
    let services = listed_services(connect_gateway(&ready).unwrap()).await.unwrap();
    assert!(services.iter().any(|name| name == EXT_PROC), "{services:?}");
    assert!(is_described(connect_gateway(&ready).unwrap()).await.unwrap());
    let services = listed_services(probe).await.unwrap();
    assert!(services.iter().any(|name| name == "grpc.health.v1.Health"), "{services:?}");
    assert!(!services.iter().any(|name| name == EXT_PROC), "{services:?}");
    assert!(check_serving(connect_plaintext(&ready, "ext_proc").await.unwrap()).await.is_err());
    let (_process, ready) = pool.replica("plaintext", &["--secure-serving=false"]).await.unwrap();
    check_serving(connect_plaintext(&ready, "ext_proc").await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn shutdown_notifies_watchers_and_finishes_open_requests() {
    let pool = Pool::start().await.unwrap();
    let (process, ready) = pool.replica("epp", &[]).await.unwrap();
    let channel = connect_gateway(&ready).unwrap();
    let mut watch =
        HealthClient::new(channel.clone()).watch(health_check(EXT_PROC)).await.unwrap().into_inner();
    let update = watch.message().await.unwrap().unwrap();
    assert_eq!(ServingStatus::Serving, update.status());
    let request = start_request(channel.clone()).await.unwrap();
    process.send(Signal::Terminate).unwrap();
    let update = watch.message().await.unwrap().unwrap();
    assert_eq!(ServingStatus::NotServing, update.status());
    assert_eq!(None, watch.message().await.unwrap());
    let mut probe = HealthClient::new(connect_plaintext(&ready, "health").await.unwrap());
    let status = async |probe: &mut HealthClient<Channel>, name| {
        probe.check(health_check(name)).await.unwrap().into_inner().status()
    };
    assert_eq!(ServingStatus::NotServing, status(&mut probe, "readiness").await);
    assert_eq!(ServingStatus::Serving, status(&mut probe, "liveness").await);
    finish_request(request).await.unwrap();
    drop((channel, watch, probe));
    let status = process.stop(Signal::Terminate).await.unwrap();
    assert_eq!(Some(0), status.code());
    let log = fs::read_to_string(pool.dir.path().join("epp.log")).unwrap();
    assert!(!log.contains("aborting requests"), "{log}");
}

/// Copies a certificate and its key to the file names that Kubernetes uses.
fn install(folder: &Path, (cert, key): &(PathBuf, PathBuf)) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    fs::copy(cert, folder.join("tls.crt"))?;
    fs::copy(key, folder.join("tls.key"))?;
    Ok(())
}

#[tokio::test]
async fn configured_certificate_is_used_and_reloaded() {
    let pool = Pool::start().await.unwrap();
    let dir = &pool.dir;
    let (first, second) =
        (CertificateAuthority::new(dir, "first").unwrap(), CertificateAuthority::new(dir, "second").unwrap());
    let folder = dir.path().join("certificates");
    install(&folder, &first.issue(dir, "epp-first").unwrap()).unwrap();
    let flags = ["--cert-path", folder.to_str().unwrap(), "--tls-min-version=VersionTLS13"];
    let (_process, ready) = pool.replica("epp", &flags).await.unwrap();
    let at = address(&ready, "ext_proc").unwrap();
    let connect_with_ca = async |authority: &CertificateAuthority| {
        let (cert, key) = authority.issue(dir, "gateway").unwrap();
        let flags = TlsFlags {
            tls_ca: Some(authority.file().to_owned()),
            tls_cert: Some(cert),
            tls_key: Some(key),
            ..TlsFlags::default()
        };
        let channel = Security::from_flags(&flags).unwrap().connect(&at, |endpoint| endpoint).await?;
        check_serving(channel).await
    };
    connect_with_ca(&first).await.unwrap();
    assert!(connect_with_ca(&second).await.is_err());
    // The new certificate does not match the old key.
    let next = second.issue(dir, "epp-second").unwrap();
    fs::copy(&next.0, folder.join("tls.crt")).unwrap();
    let logs_error = async || {
        // The replica checks the files when a client connects.
        connect_with_ca(&first).await?;
        let log = fs::read_to_string(dir.path().join("epp.log"))?;
        ensure!(log.contains("cannot reload the TLS files"), "{log}");
        Ok(())
    };
    eventually("a mismatched pair is logged and the last valid one stays in use", logs_error).await.unwrap();
    install(&folder, &next).unwrap();
    eventually("the new certificate is in use", async || connect_with_ca(&second).await).await.unwrap();
}

#[tokio::test]
async fn replica_starts_with_the_arguments_of_the_helm_chart() {
    let pool = Pool::start().await.unwrap();
    let (process, ready) = pool
        .replica(
            "epp",
            &[
                "--pool-name",
                "llama3",
                "--pool-namespace",
                "default",
                "--pool-group=inference.networking.k8s.io",
                "--zap-encoder",
                "json",
                "-v=4",
                "--health-checking",
                "--ha-enable-leader-election",
                "--enable-cert-reload=true",
                "--metrics-endpoint-auth=false",
                "--metrics-staleness-threshold=2s",
                "--refresh-metrics-interval=50ms",
                "--grpc-max-recv-msg-size=8Mi",
                "--tracing=false",
                "--drain-timeout=1m30s",
                "--config-text",
                "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins: [{ type: queue-scorer }]",
            ],
        )
        .await
        .unwrap();
    finish_request(start_request(connect_gateway(&ready).unwrap()).await.unwrap()).await.unwrap();
    for flag in ["ha-enable-leader-election", "pool-group", "metrics-staleness-threshold"] {
        pool.dir.wait_for_log("epp", &["\"WARN\"", &format!("\"flag\":\"{flag}\"")]).await.unwrap();
    }
    let log = fs::read_to_string(pool.dir.path().join("epp.log")).unwrap();
    assert!(!log.contains("\"health-checking\"") && log.contains("\"DEBUG\""), "{log}");
    assert!(process.stop(Signal::Terminate).await.unwrap().success());
}

#[test]
fn unknown_flag_is_reported_with_the_known_flags() {
    let error_of = |flags: &[&str]| {
        let output = Command::new(built_binary("signalbox-epp").unwrap()).args(flags).output().unwrap();
        assert_eq!(Some(64), output.status.code());
        String::from_utf8(output.stderr).unwrap()
    };
    let unknown = error_of(&["--aggregator", "127.0.0.1:1", "--pool-nmae", "llama3"]);
    for part in ["'--pool-nmae'", "\n  --pool-name\n", "\n  --secure-serving\n", "\n  --drain-timeout\n"] {
        assert!(unknown.contains(part), "{unknown}");
    }
    let removed = error_of(&["--aggregator", "127.0.0.1:1", "--lora-info-metric", "vllm:lora_requests_info"]);
    assert!(removed.contains("--lora-info-metric is no longer supported"), "{removed}");
}

/// Returns flags for `signalbox up` with TLS on free ports.
fn up_flags(more: &[&str]) -> Vec<String> {
    let ports = ["gateway", "ext-proc", "health", "access-log", "metrics"];
    let parts = ["aggregator", "aggregator-metrics", "collector-metrics"];
    let port = |port: &str| [format!("--{port}-listen"), "127.0.0.1:0".to_owned()];
    let flags = ["up", "--secure-serving", "--simulators", "1"].iter().chain(more);
    flags.map(|&flag| flag.to_owned()).chain(ports.into_iter().chain(parts).flat_map(port)).collect()
}

const PROMPT: &str = r#"{"model":"llama3-8b","max_tokens":1,"prompt":"Hi"}"#;

#[tokio::test]
async fn up_uses_tls_between_gateway_and_replicas_on_request() {
    let dir = TestDir::new().unwrap();
    let flags = up_flags(&["--output", "json"]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (process, ready) = Process::start_ready(&dir, "signalbox", "up", &flags).await.unwrap();
    for replica in ready["epp"].as_array().unwrap() {
        check_serving(connect_gateway(replica).unwrap()).await.unwrap();
    }
    let url = format!("{}/v1/completions", ready["gateway"].as_str().unwrap());
    Client::new().post(&url, PROMPT).await.unwrap().ok().unwrap();
    assert!(process.stop(Signal::Interrupt).await.unwrap().success());
}

#[tokio::test]
async fn printed_envoy_configuration_uses_tls() {
    let (dir, client) = (TestDir::new().unwrap(), Client::new());
    let flags = up_flags(&["--gateway", "none"]);
    let process = Process::start(&dir, "up", &built_binary("signalbox").unwrap(), &flags).unwrap();
    let config = async || {
        let printed = process.stdout()?;
        let (config, _) = printed.split_once("\nPress Ctrl-C").context("`up` is not ready")?;
        Ok(config[config.find("static_resources:").context("there is no configuration in the output")?..]
            .to_owned())
    };
    let config = eventually("the configuration is printed", config).await.unwrap();
    let config =
        config.replace("- name: http\n", "- name: gateway\n").replace("port_value: 8080", "port_value: 0");
    let admin = "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }";
    let envoy = Envoy::configured(&dir, &client, &format!("{admin}\n{config}")).await.unwrap();
    envoy.wait_for_healthy_replicas(&client, 2).await.unwrap();
    let url = format!("{}/v1/completions", envoy.url());
    client.post(&url, PROMPT).await.unwrap().ok().unwrap();
    assert!(envoy.statistic(&client, "cluster.epp.ssl.handshake").await.unwrap() > Some(0));
}
