//! The chart, as helm renders it.

mod args;
mod autoscaling;
mod config;
mod earlier;
mod envoy;
mod installed;
mod matrix;
mod objects;
mod rbac;
mod render;
mod schema;
mod sizing;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use signalbox_integration::TestDir;
use signalbox_kubernetes_tests::{HelmVersion, sandboxed};

use crate::args::{flag_value, flag_values};
use crate::render::{NAMESPACE, Rendered, items, repository_file, yaml};

fn values(name: &str) -> anyhow::Result<Value> {
    let found = matrix::matrix().into_iter().find(|(found, _)| *found == name);
    Ok(found.with_context(|| format!("there are no values {name}"))?.1)
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_safe_and_consistent_with_all_values() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    for (name, values) in matrix::matrix() {
        let check = async {
            let rendered = Rendered::new(&dir, &values).await?;
            objects::check(&rendered)?;
            args::check(&rendered, &dir.path().join(name))
        };
        check.await.with_context(|| format!("values: {name}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_those_that_the_documentation_declares() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let cases: [(&str, &[&str]); 3] =
        [("defaults", &[NAMESPACE]), ("watched namespaces", &[NAMESPACE, "team-a"]), ("all namespaces", &[])];
    for (name, watched) in cases {
        let rendered = Rendered::new(&dir, &values(name)?).await?;
        rbac::check(&rendered, watched).with_context(|| format!("values: {name}"))?;
        let args = rendered.args("aggregator")?;
        ensure!(flag_values(&args, "watch-namespace") == watched, "{name}: watches other namespaces");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_has_the_documented_configuration_of_envoy() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let cases =
        [("standalone", "default"), ("standalone with access log", "request-only"), ("plaintext", "default")];
    for (name, mode) in cases {
        let rendered = Rendered::new(&dir, &values(name)?).await?;
        let config = envoy::config(&rendered)?;
        envoy::check_same(&config, mode).with_context(|| format!("values: {name}"))?;
        envoy::check_accepted(&dir, &config).await.with_context(|| format!("values: {name}"))?;
        ensure!(
            config.contains("UpstreamTlsContext") == (name != "plaintext"),
            "{name}: TLS to the replicas"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_name_the_service_and_ports_that_it_opens() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let rendered = Rendered::new(&dir, &values("istio")?).await?;
    let service = rendered.object("Service", "signalbox-epp")?;
    let open: Vec<_> = items(&service["spec"]["ports"]).iter().map(|port| &port["port"]).collect();
    let pools: Vec<_> = rendered.kind("InferencePool").collect();
    ensure!(pools.len() == 2, "not two pools");
    for pool in pools {
        let picker = &pool["spec"]["endpointPickerRef"];
        ensure!(picker["name"] == "signalbox-epp" && open.contains(&&picker["port"]["number"]), "{picker}");
        let name = pool["metadata"]["name"].as_str().context("a pool without a name")?;
        let route = &rendered.object("HTTPRoute", name)?["spec"]["rules"][0]["backendRefs"][0];
        ensure!(route["name"] == name && route["kind"] == "InferencePool", "{route}");
    }
    let args = rendered.args("aggregator")?;
    ensure!(flag_value(&args, "service") == format!("{NAMESPACE}/signalbox-epp"), "another Service");
    ensure!(flag_value(&args, "service-ports") == "8987-9002", "other ports");
    for kind in ["InferenceObjective", "InferenceModelRewrite", "DestinationRule"] {
        ensure!(rendered.kind(kind).count() == 1, "not one {kind}");
    }
    let rendered = Rendered::new(&dir, &values("gke")?).await?;
    for kind in ["HealthCheckPolicy", "GCPBackendPolicy"] {
        ensure!(rendered.kind(kind).count() == 2, "not two {kind}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_version_still_work() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    for (name, values) in earlier::versions()? {
        let check = async {
            let rendered = Rendered::new(&dir, &values).await?;
            objects::check(&rendered)?;
            args::check(&rendered, &dir.path().join(&name))
        };
        check.await.with_context(|| format!("values: {name}"))?;
    }
    earlier::check_present_version()
}

#[tokio::test(flavor = "multi_thread")]
async fn autoscalers_find_the_aggregators_and_follow_each_step() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    autoscaling::check_keda(&Rendered::new(&dir, &values("keda")?).await?, true)?;
    autoscaling::check_keda(&Rendered::new(&dir, &values("keda without TLS")?).await?, false)?;
    autoscaling::check_hpa(&Rendered::new(&dir, &values("hpa")?).await?)?;
    let rendered = Rendered::new(&dir, &values("hpa with cert-manager")?).await?;
    let api = rendered.object("APIService", "v1beta2.custom.metrics.k8s.io")?;
    let injected = &api["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
    let names = &rendered.object("Certificate", "signalbox-aggregator-tls")?["spec"]["dnsNames"];
    ensure!(*injected == format!("{NAMESPACE}/signalbox-aggregator-tls"), "{api}");
    ensure!(items(names).len() == 2, "{names}");
    let rendered = Rendered::new(&dir, &values("both autoscalers with existing secrets")?).await?;
    let api = rendered.object("APIService", "v1beta2.custom.metrics.k8s.io")?;
    ensure!(api["spec"]["caBundle"] == "UEVN", "{api}");
    Ok(())
}

#[test]
fn documented_sizes_are_the_defaults() -> anyhow::Result<()> {
    sizing::check()
}

#[tokio::test(flavor = "multi_thread")]
async fn service_of_the_replicas_has_all_ports_for_gateways() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let rendered = Rendered::new(&dir, &Value::Null).await?;
    let service = rendered.object("Service", "signalbox-epp")?;
    for (name, number) in [("pool-9002", 9002), ("health", 9003), ("access-log", 9004), ("metrics", 9090)] {
        let port = items(&service["spec"]["ports"]).iter().find(|port| port["name"] == name);
        ensure!(port.is_some_and(|port| port["port"] == number), "{name}: {port:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_exact() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let rendered = Rendered::new(&dir, &values("everything else")?).await?;
    let epp = rendered.args("epp")?;
    ensure!(flag_value(&epp, "body-limit") == "12345678", "{epp:?}");
    ensure!(flag_value(&epp, "drain-timeout") == "1000000s", "{epp:?}");
    ensure!(flag_value(&epp, "buffer-limit") == "4294967296", "{epp:?}");
    ensure!(flag_value(&rendered.args("collector")?, "scrape-max-page-bytes") == "10000000");
    let fraction = json!({ "epp": { "flags": { "a": 0.25, "b": [10_000_000.5, "1e7", false] } } });
    let epp = Rendered::new(&dir, &fraction).await?.args("epp")?;
    ensure!(flag_value(&epp, "a") == "0.25", "{epp:?}");
    ensure!(flag_values(&epp, "b") == ["10000000.5", "1e7", "false"], "{epp:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_is_valid_for_its_readers_and_its_change_replaces_their_pods() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let mut values = values("everything else")?;
    let rendered = Rendered::new(&dir, &values).await?;
    let text =
        rendered.object("ConfigMap", "signalbox-epp")?["data"]["config.yaml"].as_str().context("no text")?;
    ensure!(yaml(text)? == [values["epp"]["pluginsConfig"].clone()], "another configuration: {text}");
    let file = dir.path().join("config.yaml");
    std::fs::write(&file, text)?;
    signalbox_epp::PolicyFlags { config_file: Some(file), ..Default::default() }.load()?;
    values["epp"]["pluginsConfig"]["plugins"] = json!([{ "type": "queue-scorer" }]);
    let changed = Rendered::new(&dir, &values).await?;
    for component in ["epp", "aggregator"] {
        let path = config::path(&rendered, component)?;
        ensure!(path.as_deref() == Some("config.yaml"), "{component}: reads {path:?}");
        let annotations =
            |rendered: &Rendered| anyhow::Ok(rendered.pod(component)?["metadata"]["annotations"].clone());
        ensure!(
            annotations(&rendered)? != annotations(&changed)?,
            "{component}: keeps the old configuration"
        );
    }
    let defaults = Rendered::new(&dir, &Value::Null).await?;
    for component in ["epp", "aggregator", "collector"] {
        let path = config::path(&defaults, component)?;
        ensure!(path.is_none(), "{component}: reads {path:?}, which nobody wrote");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_come_from_one_source() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    for (name, secrets, certificates) in [
        ("defaults", 4, 0),
        ("cert-manager", 0, 4),
        ("cert-manager with an issuer", 0, 3),
        ("existing secrets", 0, 0),
        ("plaintext", 0, 0),
    ] {
        let rendered = Rendered::new(&dir, &values(name)?).await?;
        ensure!(rendered.kind("Secret").count() == secrets, "{name}: not {secrets} Secrets");
        ensure!(
            rendered.kind("Certificate").count() == certificates,
            "{name}: not {certificates} Certificates"
        );
        // cert-manager keeps the Secrets: the labels say whose they are.
        let instance = "app.kubernetes.io/instance";
        for certificate in rendered.kind("Certificate") {
            let labels = &certificate["spec"]["secretTemplate"]["labels"];
            ensure!(labels[instance] == "signalbox", "{name}: the Secret has the labels {labels}");
        }
        let is_plaintext = rendered.args("epp")?.contains(&"--plaintext".to_owned());
        ensure!(is_plaintext == (name == "plaintext"), "{name}: --plaintext");
    }
    let rendered = Rendered::new(&dir, &values("existing secrets")?).await?;
    let mounted = |component| {
        Ok::<_, anyhow::Error>(&rendered.pod(component)?["spec"]["volumes"][0]["secret"]["secretName"])
    };
    ensure!(mounted("collector")? == "one" && mounted("epp")? == "two", "other Secrets");
    let rendered = Rendered::new(&dir, &values("cert-manager with an issuer")?).await?;
    ensure!(
        flag_value(&rendered.args("epp")?, "tls-peer") == "aggregator=spiffe://example.com/aggregator",
        "another name"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_impossible_values_are_refused() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let schema: Value = serde_json::from_str(&repository_file("helm/signalbox/values.schema.json")?)?;
    schema::check_unknown_keys(&dir, &schema).await?;
    schema::check_maps(&dir).await?;
    schema::check_impossible_values(&dir).await
}

#[test]
fn helm_3_installs_upgrades_and_removes_it() -> anyhow::Result<()> {
    sandboxed("helm_3_installs_upgrades_and_removes_it", async |dir| {
        installed::check(dir, HelmVersion::V3, "access-log").await
    })
}

#[test]
fn helm_4_installs_upgrades_and_removes_it() -> anyhow::Result<()> {
    sandboxed("helm_4_installs_upgrades_and_removes_it", async |dir| {
        installed::check(dir, HelmVersion::V4, "ext-proc").await
    })
}
