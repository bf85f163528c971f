//! How a replica serves gateways: TLS, health, reflection, flags, and its end.

mod gateway;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;
use signalbox_integration::{
    Authority, Client, Envoy, Fleet, Ports, Process, Scratch, Service, Signal, built, eventually,
};
use signalbox_tls::{Security, TlsFlags};
use tonic::transport::Channel;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use gateway::{EXT_PROC, address, asked, begin, described, finish, gateway, is_served, listed, plain};

const PORTS: [&str; 8] =
    ["--grpc-port", "0", "--grpc-health-port", "0", "--access-log-port", "0", "--metrics-port", "0"];

/// A pool with one pod, and its aggregator.
struct Pool {
    scratch: Scratch,
    aggregator: String,
    _running: (Fleet, Service),
}

impl Pool {
    async fn start() -> anyhow::Result<Self> {
        let (scratch, mut ports) = (Scratch::new()?, Ports::new());
        let fleet = Fleet::start(&scratch, 1, &[]).await?;
        let at = ports.take()?;
        let mut aggregator = Service::aggregator("aggregator", (at, at), ports.take()?, fleet.file());
        aggregator.start(&scratch).await?;
        Ok(Self { scratch, aggregator: at.to_string(), _running: (fleet, aggregator) })
    }

    /// A replica that follows it, on free ports, with these flags and no others.
    async fn replica(&self, name: &str, more: &[&str]) -> anyhow::Result<(Process, Value)> {
        let flags = ["--aggregator", &self.aggregator, "--bind", "127.0.0.1", "--output", "json"];
        let flags = [&flags[..], &PORTS, more].concat();
        Process::ready(&self.scratch, "signalbox-epp", name, &flags).await
    }
}

#[tokio::test]
async fn gateways_that_verify_nothing_are_served_over_tls_without_being_asked_to() {
    let pool = Pool::start().await.unwrap();
    let (_process, ready) = pool.replica("epp", &[]).await.unwrap();
    finish(begin(gateway(&ready).unwrap()).await.unwrap()).await.unwrap();
    is_served(gateway(&ready).unwrap()).await.unwrap();
    // Probes know nothing of TLS.
    let probe = plain(&ready, "health").await.unwrap();
    is_served(probe.clone()).await.unwrap();
    let services = listed(gateway(&ready).unwrap()).await.unwrap();
    assert!(services.iter().any(|name| name == EXT_PROC), "{services:?}");
    assert!(described(gateway(&ready).unwrap()).await.unwrap());
    let services = listed(probe).await.unwrap();
    assert!(services.iter().any(|name| name == "grpc.health.v1.Health"), "{services:?}");
    assert!(!services.iter().any(|name| name == EXT_PROC), "{services:?}");
    assert!(is_served(plain(&ready, "ext_proc").await.unwrap()).await.is_err());
    let (_process, ready) = pool.replica("plain", &["--secure-serving=false"]).await.unwrap();
    is_served(plain(&ready, "ext_proc").await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn who_watches_is_told_of_the_end_and_open_requests_are_finished() {
    let pool = Pool::start().await.unwrap();
    let (process, ready) = pool.replica("epp", &[]).await.unwrap();
    let channel = gateway(&ready).unwrap();
    let mut watch = HealthClient::new(channel.clone()).watch(asked(EXT_PROC)).await.unwrap().into_inner();
    let told = watch.message().await.unwrap().unwrap();
    assert_eq!(ServingStatus::Serving, told.status());
    let request = begin(channel.clone()).await.unwrap();
    process.send(Signal::Terminate).unwrap();
    let told = watch.message().await.unwrap().unwrap();
    assert_eq!(ServingStatus::NotServing, told.status());
    assert_eq!(None, watch.message().await.unwrap());
    let mut probe = HealthClient::new(plain(&ready, "health").await.unwrap());
    let status = async |probe: &mut HealthClient<Channel>, name| {
        probe.check(asked(name)).await.unwrap().into_inner().status()
    };
    assert_eq!(ServingStatus::NotServing, status(&mut probe, "readiness").await);
    assert_eq!(ServingStatus::Serving, status(&mut probe, "liveness").await);
    finish(request).await.unwrap();
    drop((channel, watch, probe));
    let ended = process.end(Signal::Terminate).await.unwrap();
    assert_eq!(Some(0), ended.code());
    let log = fs::read_to_string(pool.scratch.path().join("epp.log")).unwrap();
    assert!(!log.contains("requests are cut"), "{log}");
}

/// Puts a certificate and its key where Kubernetes would.
fn put(folder: &Path, (cert, key): &(PathBuf, PathBuf)) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    fs::copy(cert, folder.join("tls.crt"))?;
    fs::copy(key, folder.join("tls.key"))?;
    Ok(())
}

#[tokio::test]
async fn own_certificates_are_shown_and_read_again_when_they_change() {
    let pool = Pool::start().await.unwrap();
    let scratch = &pool.scratch;
    let (first, second) =
        (Authority::new(scratch, "first").unwrap(), Authority::new(scratch, "second").unwrap());
    let folder = scratch.path().join("certificates");
    put(&folder, &first.signs(scratch, "epp-first").unwrap()).unwrap();
    let flags = ["--cert-path", folder.to_str().unwrap(), "--tls-min-version=VersionTLS13"];
    let (_process, ready) = pool.replica("epp", &flags).await.unwrap();
    let at = address(&ready, "ext_proc").unwrap();
    let trusts = async |authority: &Authority| {
        let (cert, key) = authority.signs(scratch, "gateway").unwrap();
        let flags = TlsFlags {
            tls_ca: Some(authority.file().to_owned()),
            tls_cert: Some(cert),
            tls_key: Some(key),
            ..TlsFlags::default()
        };
        let channel = Security::of(&flags).unwrap().connect(&at, |endpoint| endpoint).await?;
        is_served(channel).await
    };
    trusts(&first).await.unwrap();
    assert!(trusts(&second).await.is_err());
    // Half of what is to come is no pair.
    let next = second.signs(scratch, "epp-second").unwrap();
    fs::copy(&next.0, folder.join("tls.crt")).unwrap();
    let complains = async || {
        // It looks when somebody comes.
        trusts(&first).await?;
        let log = fs::read_to_string(scratch.path().join("epp.log"))?;
        ensure!(log.contains("the TLS files are of no use"), "{log}");
        Ok(())
    };
    eventually("a bad pair is logged, and the last good one serves on", complains).await.unwrap();
    put(&folder, &next).unwrap();
    eventually("the new certificate is shown", async || trusts(&second).await).await.unwrap();
}

#[tokio::test]
async fn a_charts_arguments_start_a_replica() {
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
    finish(begin(gateway(&ready).unwrap()).await.unwrap()).await.unwrap();
    for flag in ["ha-enable-leader-election", "pool-group", "metrics-staleness-threshold"] {
        pool.scratch.logs("epp", &["\"WARN\"", &format!("--{flag} has no effect here: ")]).await.unwrap();
    }
    let log = fs::read_to_string(pool.scratch.path().join("epp.log")).unwrap();
    assert!(!log.contains("--health-checking") && log.contains("\"DEBUG\""), "{log}");
    assert!(process.end(Signal::Terminate).await.unwrap().success());
}

#[test]
fn an_unknown_flag_is_answered_with_those_that_there_are() {
    let refused = |flags: &[&str]| {
        let output = Command::new(built("signalbox-epp").unwrap()).args(flags).output().unwrap();
        assert_eq!(Some(64), output.status.code());
        String::from_utf8(output.stderr).unwrap()
    };
    let unknown = refused(&["--aggregator", "127.0.0.1:1", "--pool-nmae", "llama3"]);
    for part in ["'--pool-nmae'", "\n  --pool-name\n", "\n  --secure-serving\n", "\n  --drain-timeout\n"] {
        assert!(unknown.contains(part), "{unknown}");
    }
    let removed = refused(&["--aggregator", "127.0.0.1:1", "--lora-info-metric", "vllm:lora_requests_info"]);
    assert!(removed.contains("--lora-info-metric is no more"), "{removed}");
}

/// Flags of `signalbox up` with TLS, on free ports.
fn up(more: &[&str]) -> Vec<String> {
    let ports = ["gateway", "ext-proc", "health", "access-log", "metrics"];
    let parts = ["aggregator", "aggregator-metrics", "collector-metrics"];
    let port = |port: &str| [format!("--{port}-listen"), "127.0.0.1:0".to_owned()];
    let flags = ["up", "--secure-serving", "--simulators", "1"].iter().chain(more);
    flags.map(|&flag| flag.to_owned()).chain(ports.into_iter().chain(parts).flat_map(port)).collect()
}

const PROMPT: &str = r#"{"model":"llama3-8b","max_tokens":1,"prompt":"Hi"}"#;

#[tokio::test]
async fn up_speaks_tls_between_its_gateway_and_its_replicas_when_told_to() {
    let scratch = Scratch::new().unwrap();
    let flags = up(&["--output", "json"]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (process, ready) = Process::ready(&scratch, "signalbox", "up", &flags).await.unwrap();
    for replica in ready["epp"].as_array().unwrap() {
        is_served(gateway(replica).unwrap()).await.unwrap();
    }
    let url = format!("{}/v1/completions", ready["gateway"].as_str().unwrap());
    Client::new().post(&url, PROMPT).await.unwrap().ok().unwrap();
    assert!(process.end(Signal::Interrupt).await.unwrap().success());
}

#[tokio::test]
async fn envoy_speaks_tls_with_replicas_as_the_printed_configuration_says() {
    let (scratch, client) = (Scratch::new().unwrap(), Client::new());
    let flags = up(&["--gateway", "none"]);
    let process = Process::start(&scratch, "up", &built("signalbox").unwrap(), &flags).unwrap();
    let printed = async || {
        let printed = process.printed()?;
        let (config, _) = printed.split_once("\nCtrl-C").context("it is not ready")?;
        Ok(config[config.find("static_resources:").context("no configuration")?..].to_owned())
    };
    let config = eventually("the configuration is printed", printed).await.unwrap();
    let config =
        config.replace("- name: http\n", "- name: gateway\n").replace("port_value: 8080", "port_value: 0");
    let admin = "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }";
    let envoy = Envoy::configured(&scratch, &client, &format!("{admin}\n{config}")).await.unwrap();
    envoy.sees_healthy(&client, 2).await.unwrap();
    let url = format!("{}/v1/completions", envoy.url());
    client.post(&url, PROMPT).await.unwrap().ok().unwrap();
    assert!(envoy.statistic(&client, "cluster.epp.ssl.handshake").await.unwrap() > 0);
}
