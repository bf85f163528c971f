//! Tests `signalbox up` as a process, with `load` and `explain` against it.

use std::fs;
use std::net::TcpListener;

use anyhow::{Context, ensure};
use serde_json::Value;
use signalbox_integration::{
    Client, CompletionRequest, Envoy, Process, ResponseFormat, Signal, TestDir, built_binary, envoy_binary,
    eventually,
};

const PORTS: [&str; 8] = [
    "--gateway-listen",
    "--ext-proc-listen",
    "--health-listen",
    "--access-log-listen",
    "--metrics-listen",
    "--aggregator-listen",
    "--aggregator-metrics-listen",
    "--collector-metrics-listen",
];

/// Starts `up` with the flags `more`, and on free ports where they set none.
async fn up(dir: &TestDir, more: &[&str]) -> anyhow::Result<(Process, Value)> {
    let mut flags = vec!["up", "--output", "json"];
    if !more.contains(&"--endpoints") && !more.contains(&"--simulator-speed") {
        flags.extend(["--simulator-speed", "50"]);
    }
    for port in PORTS.into_iter().filter(|port| !more.contains(port)) {
        flags.extend([port, "127.0.0.1:0"]);
    }
    flags.extend(more);
    Process::start_ready(dir, "signalbox", "up", &flags).await
}

/// Runs another subcommand and returns the JSON line that it prints.
async fn run_subcommand(dir: &TestDir, arguments: &[&str]) -> anyhow::Result<Value> {
    Ok(Process::start_ready(dir, "signalbox", arguments[0], arguments).await?.1)
}

#[tokio::test]
async fn up_serves_requests_in_one_process() {
    let dir = TestDir::new().unwrap();
    let (process, ready) = up(&dir, &[]).await.unwrap();
    for (kind, count) in [("epp", 2), ("aggregators", 1), ("collectors", 1), ("simulators", 4)] {
        assert_eq!(ready[kind].as_array().map(Vec::len), Some(count), "{kind} in {ready}");
    }
    let gateway = ready["gateway"].as_str().unwrap();
    check_streaming_response(gateway).await.unwrap();
    check_load_report(&dir, gateway).await.unwrap();
    for epp in ready["epp"].as_array().unwrap() {
        check_explanation(&dir, epp["metrics"].as_str().unwrap()).await.unwrap();
    }
    assert_eq!(process.stdout().unwrap().lines().count(), 1);
    let status = process.stop(Signal::Interrupt).await.unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn up_runs_envoy_in_front() {
    let dir = TestDir::new().unwrap();
    let envoy = envoy_binary().unwrap();
    let flags = ["--gateway", "envoy", "--envoy", envoy.to_str().unwrap()];
    let (process, ready) = up(&dir, &flags).await.unwrap();
    let gateway = ready["gateway"].as_str().unwrap();
    let is_served = async || check_streaming_response(gateway).await;
    eventually("Envoy considers the replicas healthy", is_served).await.unwrap();
    assert_eq!(process.stop(Signal::Interrupt).await.unwrap().code(), Some(0));
    assert!(Client::new().get(gateway).await.is_err(), "Envoy stops with `up`");
}

#[tokio::test]
async fn missing_envoy_is_reported_with_its_flag() {
    let dir = TestDir::new().unwrap();
    let flags = ["up", "--simulators", "1", "--gateway", "envoy", "--envoy", "/nowhere/envoy"];
    let flags: Vec<&str> =
        flags.into_iter().chain(PORTS.iter().flat_map(|port| [*port, "127.0.0.1:0"])).collect();
    let process = Process::start(&dir, "up", &built_binary("signalbox").unwrap(), &flags).unwrap();
    dir.wait_for_log("up", &["/nowhere/envoy", "--envoy FILE"]).await.unwrap();
    drop(process);
}

async fn check_streaming_response(gateway: &str) -> anyhow::Result<()> {
    let body =
        r#"{"model":"llama3-8b","stream":true,"max_tokens":8,"messages":[{"role":"user","content":"Hi"}]}"#;
    let response = Client::new().post(&format!("{gateway}/v1/chat/completions"), body).await?.ok()?;
    ensure!(response.events()?.len() > 1, "{response:?}");
    Ok(())
}

async fn check_load_report(dir: &TestDir, gateway: &str) -> anyhow::Result<()> {
    let report =
        run_subcommand(dir, &["load", "--to", gateway, "--requests", "200", "--output", "json"]).await?;
    ensure!(report["errors"]["total"] == 0, "{report}");
    let cached_share = report["cached_token_share"].as_f64().context("the report has no cached share")?;
    // Prompts share most of their text, and all but the first few find it cached at some endpoint.
    ensure!(cached_share > 0.4, "{report}");
    let endpoints = report["spread"]["endpoints"].as_object().context("the report has no spread")?;
    ensure!(endpoints.len() == 4 && endpoints.values().all(|served| served.as_u64() > Some(20)), "{report}");
    Ok(())
}

async fn check_explanation(dir: &TestDir, epp: &str) -> anyhow::Result<()> {
    let file = dir.path().join("request.json");
    fs::write(
        &file,
        CompletionRequest { topic: 1, bytes: 300, max_tokens: None, format: ResponseFormat::Document }.body(),
    )?;
    let file = file.to_str().context("the path of the build directory is not UTF-8")?;
    let explanation = run_subcommand(dir, &["explain", "--epp", epp, "--output", "json", file]).await?;
    ensure!(explanation["candidates"].as_array().map(Vec::len) == Some(4), "{explanation}");
    ensure!(explanation["winner"] == explanation["candidates"][0]["endpoint"], "{explanation}");
    Ok(())
}

#[tokio::test]
async fn simulators_follow_the_load_and_no_request_is_lost() {
    let dir = TestDir::new().unwrap();
    let flags = ["--simulators", "1..3", "--autoscale", "--simulator-start-delay", "1s"];
    let flags = [&flags[..], &["--scale-down-after", "2s", "--simulator-speed", "1"]].concat();
    let (process, ready) = up(&dir, &flags).await.unwrap();
    assert_eq!(ready["simulators"].as_array().map(Vec::len), Some(1), "{ready}");
    let (client, metrics) = (Client::new(), ready["epp"][0]["metrics"].as_str().unwrap());
    let serving = async || client.metrics(metrics).await?.value("inference_pool_ready_pods");
    let grown = eventually("simulators start under load", async || {
        let count = serving().await?;
        ensure!(count > 1.0, "{count} simulators serve");
        Ok(())
    });
    let load = ["load", "--to", ready["gateway"].as_str().unwrap(), "--profile", "diurnal", "--rate", "40"];
    let load = [&load[..], &["--duration", "30s", "--output", "json"]].concat();
    let (report, grown) = tokio::join!(run_subcommand(&dir, &load), grown);
    grown.unwrap();
    let report = report.unwrap();
    assert_eq!(report["errors"]["total"], 0, "{report}");
    let endpoints = report["spread"]["endpoints"].as_object().unwrap();
    assert!((2..=3).contains(&endpoints.len()), "{report}");
    eventually("simulators stop without load", async || {
        let count = serving().await?;
        ensure!(count == 1.0, "{count} simulators serve");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(process.stop(Signal::Interrupt).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn printed_envoy_configuration_is_valid() {
    let dir = TestDir::new().unwrap();
    let mut flags = vec!["up", "--gateway", "none"];
    PORTS.into_iter().for_each(|port| flags.extend([port, "127.0.0.1:0"]));
    let process = Process::start(&dir, "up", &built_binary("signalbox").unwrap(), &flags).unwrap();
    let config = async || {
        let printed = process.stdout()?;
        let (config, _) = printed.split_once("\nPress Ctrl-C").context("`up` is not ready")?;
        Ok(config[config.find("static_resources:").context("there is no configuration in the output")?..]
            .to_owned())
    };
    let config = eventually("the configuration is printed", config).await.unwrap();
    assert_eq!(2, config.matches("- endpoint:").count(), "{config}");
    Envoy::validate(&dir, &config).unwrap();
}

#[tokio::test]
async fn port_in_use_is_reported_with_its_flag() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for flag in PORTS {
        let dir = TestDir::new().unwrap();
        let error = up(&dir, &[flag, &address]).await.unwrap_err().to_string();
        assert!(error.contains(&address) && error.contains(flag), "{flag}: {error}");
    }
}

#[tokio::test]
async fn flags_that_do_not_apply_together_are_refused() {
    let dir = TestDir::new().unwrap();
    for (flags, needed) in [
        (["--endpoints", "endpoints.yaml", "--simulators", "2"].as_slice(), "--simulators"),
        (["--envoy", "/nowhere/envoy"].as_slice(), "--gateway envoy"),
        (["--simulators", "1..8"].as_slice(), "--autoscale"),
        (["--autoscale"].as_slice(), "--simulators 1..8"),
        (["--endpoints", "endpoints.yaml", "--autoscale"].as_slice(), "--autoscale"),
    ] {
        let error = up(&dir, flags).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 64") && error.contains(needed), "{error}");
    }
}

#[tokio::test]
async fn all_errors_of_an_endpoints_file_are_reported_at_once() {
    let dir = TestDir::new().unwrap();
    let file = dir.path().join("wrong.yaml");
    let text = "apiVersion: signalbox/v1\nkind: Endpoints\npool: { name: p, namespace: default }\nendpoints:\n\
        - { name: a, address: 127.0.0.1:8001, engine: vllm }\n\
        - { name: a, address: 127.0.0.1:8002, engine: vllm }\n\
        - { name: b, address: nowhere, engine: vllm }\n\
        - { name: c, address: 127.0.0.1:8003, engine: vllm, colour: red }\n";
    fs::write(&file, text).unwrap();
    let flags = ["--endpoints", file.to_str().unwrap()];
    let error = up(&dir, &flags).await.unwrap_err().to_string();
    assert!(error.contains("exit status: 1"), "{error}");
    for (line, what) in [("6", "a"), ("7", "nowhere"), ("8", "colour")] {
        let is_reported = error.lines().any(|text| text.contains(line) && text.contains(what));
        assert!(is_reported, "line {line} is not in:\n{error}");
    }
}
