//! The command that people type, as a process: `signalbox up`, and `load` and `explain` against it.

use std::fs;
use std::net::TcpListener;

use anyhow::{Context, ensure};
use serde_json::Value;
use signalbox_integration::{
    Ask, Client, Delivery, Envoy, Process, Scratch, Signal, built, envoy_binary, eventually,
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

/// `up` on free ports, but for what `more` says.
async fn up(scratch: &Scratch, more: &[&str]) -> anyhow::Result<(Process, Value)> {
    let mut flags = vec!["up", "--output", "json", "--simulator-speed", "50"];
    for port in PORTS.into_iter().filter(|port| !more.contains(port)) {
        flags.extend([port, "127.0.0.1:0"]);
    }
    flags.extend(more);
    Process::ready(scratch, "signalbox", "up", &flags).await
}

/// What another subcommand prints as one line of JSON.
async fn printed(scratch: &Scratch, arguments: &[&str]) -> anyhow::Result<Value> {
    Ok(Process::ready(scratch, "signalbox", arguments[0], arguments).await?.1)
}

#[tokio::test]
async fn a_live_system_in_one_process() {
    let scratch = Scratch::new().unwrap();
    let (process, ready) = up(&scratch, &[]).await.unwrap();
    for (kind, count) in [("epp", 2), ("aggregators", 1), ("collectors", 1), ("simulators", 4)] {
        assert_eq!(ready[kind].as_array().map(Vec::len), Some(count), "{kind} in {ready}");
    }
    let gateway = ready["gateway"].as_str().unwrap();
    streams_an_answer(gateway).await.unwrap();
    load_hits_prefixes_everywhere(&scratch, gateway).await.unwrap();
    for epp in ready["epp"].as_array().unwrap() {
        explains(&scratch, epp["metrics"].as_str().unwrap()).await.unwrap();
    }
    assert_eq!(process.printed().unwrap().lines().count(), 1);
    let status = process.end(Signal::Interrupt).await.unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn with_envoy_in_front() {
    let scratch = Scratch::new().unwrap();
    let envoy = envoy_binary().unwrap();
    let flags = ["--gateway", "envoy", "--envoy", envoy.to_str().unwrap()];
    let (process, ready) = up(&scratch, &flags).await.unwrap();
    let gateway = ready["gateway"].as_str().unwrap();
    let answers = async || streams_an_answer(gateway).await;
    eventually("Envoy knows that the replicas are healthy", answers).await.unwrap();
    assert_eq!(process.end(Signal::Interrupt).await.unwrap().code(), Some(0));
    assert!(Client::new().get(gateway).await.is_err(), "Envoy ends with it");
}

#[tokio::test]
async fn without_the_envoy_that_is_wanted() {
    let scratch = Scratch::new().unwrap();
    let flags = ["up", "--simulators", "1", "--gateway", "envoy", "--envoy", "/nowhere/envoy"];
    let flags: Vec<&str> =
        flags.into_iter().chain(PORTS.iter().flat_map(|port| [*port, "127.0.0.1:0"])).collect();
    let process = Process::start(&scratch, "up", &built("signalbox").unwrap(), &flags).unwrap();
    scratch.logs("up", &["/nowhere/envoy", "--envoy FILE"]).await.unwrap();
    drop(process);
}

async fn streams_an_answer(gateway: &str) -> anyhow::Result<()> {
    let body =
        r#"{"model":"llama3-8b","stream":true,"max_tokens":8,"messages":[{"role":"user","content":"Hi"}]}"#;
    let answer = Client::new().post(&format!("{gateway}/v1/chat/completions"), body).await?.ok()?;
    ensure!(answer.events()?.len() > 1, "{answer:?}");
    Ok(())
}

async fn load_hits_prefixes_everywhere(scratch: &Scratch, gateway: &str) -> anyhow::Result<()> {
    let report =
        printed(scratch, &["load", "--to", gateway, "--requests", "200", "--output", "json"]).await?;
    ensure!(report["errors"]["total"] == 0, "{report}");
    let cached_share = report["cached_token_share"].as_f64().context("no cached share")?;
    // Most of each prompt is shared, and all but the first few find it somewhere.
    ensure!(cached_share > 0.4, "{report}");
    let pods = report["spread"]["pods"].as_object().context("no spread")?;
    ensure!(pods.len() == 4 && pods.values().all(|served| served.as_u64() > Some(20)), "{report}");
    Ok(())
}

async fn explains(scratch: &Scratch, epp: &str) -> anyhow::Result<()> {
    let file = scratch.path().join("request.json");
    fs::write(&file, Ask { topic: 1, bytes: 300, max_tokens: None, delivery: Delivery::Whole }.body())?;
    let file = file.to_str().context("the build folder's path is not UTF-8")?;
    let explanation = printed(scratch, &["explain", "--epp", epp, "--output", "json", file]).await?;
    ensure!(explanation["candidates"].as_array().map(Vec::len) == Some(4), "{explanation}");
    ensure!(explanation["winner"] == explanation["candidates"][0]["endpoint"], "{explanation}");
    Ok(())
}

#[tokio::test]
async fn the_envoy_configuration_that_it_prints_is_one() {
    let scratch = Scratch::new().unwrap();
    let mut flags = vec!["up", "--gateway", "none"];
    PORTS.into_iter().for_each(|port| flags.extend([port, "127.0.0.1:0"]));
    let process = Process::start(&scratch, "up", &built("signalbox").unwrap(), &flags).unwrap();
    let config = async || {
        let printed = process.printed()?;
        let (config, _) = printed.split_once("\nCtrl-C").context("it is not ready")?;
        Ok(config[config.find("static_resources:").context("no configuration")?..].to_owned())
    };
    let config = eventually("the configuration is printed", config).await.unwrap();
    assert_eq!(2, config.matches("- endpoint:").count(), "{config}");
    Envoy::validate(&scratch, &config).unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_the_flag_to_change_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in PORTS {
        let scratch = Scratch::new().unwrap();
        let error = up(&scratch, &[flag, &address]).await.unwrap_err().to_string();
        assert!(error.contains(&address) && error.contains(flag), "{flag}: {error}");
    }
}

#[tokio::test]
async fn everything_wrong_with_an_endpoints_file_is_said_at_once() {
    let scratch = Scratch::new().unwrap();
    let file = scratch.path().join("wrong.yaml");
    let text = "apiVersion: signalbox/v1\nkind: Endpoints\npool: { name: p, namespace: default }\nendpoints:\n\
        - { name: a, address: 127.0.0.1:8001, engine: vllm }\n\
        - { name: a, address: 127.0.0.1:8002, engine: vllm }\n\
        - { name: b, address: nowhere, engine: vllm }\n\
        - { name: c, address: 127.0.0.1:8003, engine: vllm, colour: red }\n";
    fs::write(&file, text).unwrap();
    let flags = ["--endpoints", file.to_str().unwrap()];
    let error = up(&scratch, &flags).await.unwrap_err().to_string();
    assert!(error.contains("exit status: 64"), "{error}");
    for (line, what) in [("6", "a"), ("7", "nowhere"), ("8", "colour")] {
        let said = error.lines().any(|said| said.contains(line) && said.contains(what));
        assert!(said, "line {line} is not in:\n{error}");
    }
}
