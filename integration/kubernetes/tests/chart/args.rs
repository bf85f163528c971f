//! The arguments in the chart are those of the services.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use serde_json::Value;
use signalbox_tls::Security;

use crate::render::Rendered;

/// Where the certificates are mounted.
const MOUNT: &str = "/etc/signalbox/tls";

/// Checks that the services accept the arguments in the chart, with the certificates in `dir` in place of mounted ones.
pub(crate) fn check(rendered: &Rendered, dir: &Path) -> anyhow::Result<()> {
    let line = |component: &str| {
        let certificates = dir.join(component);
        write_certificates(rendered, component, &certificates)?;
        let certificates = certificates.to_str().context("the path of the test is not UTF-8")?;
        let args = rendered.args(component)?.into_iter();
        let args = args.map(|arg| arg.replace("$(POD_IP)", address(rendered)).replace(MOUNT, certificates));
        anyhow::Ok(std::iter::once(component.to_owned()).chain(args).collect::<Vec<_>>())
    };
    let aggregator = signalbox_aggregator::Flags::try_parse_from(line("aggregator")?)?;
    ensure!(aggregator.needs_cluster(), "the pools come from elsewhere");
    let collector = signalbox_collector::Flags::try_parse_from(line("collector")?)?;
    let epp = signalbox_epp::Flags::try_parse_from(line("epp")?)?;
    if rendered.kind("Secret").next().is_some() {
        for tls in [&aggregator.tls, &collector.tls, &epp.tls] {
            ensure!(matches!(Security::from_flags(tls)?, Security::Mutual(_)), "no mutual TLS");
        }
    }
    check_drain(rendered, &epp)?;
    let pool_drain = aggregator.pool_drain;
    ensure!(
        pool_drain > epp.drain_delay + epp.drain_timeout,
        "the aggregators keep a removed pool for {pool_drain:?} only"
    );
    let probes = &rendered.pod("epp")?["spec"]["containers"][0];
    ensure!(probes["livenessProbe"]["grpc"]["port"] == epp.grpc_health_port, "probes another port");
    let advertised = aggregator.advertise.context("the aggregators advertise no address")?;
    ensure!(advertised.to_string().ends_with(&format!(":{}", aggregator.port)), "advertises {advertised}");
    Ok(())
}

/// Checks that a replica is not killed while it drains.
fn check_drain(rendered: &Rendered, epp: &signalbox_epp::Flags) -> anyhow::Result<()> {
    let grace =
        rendered.pod("epp")?["spec"]["terminationGracePeriodSeconds"].as_u64().context("no grace period")?;
    let drain = (epp.drain_delay + epp.drain_timeout).as_secs();
    ensure!(grace > drain, "killed after {grace} s, but drains for {drain} s");
    Ok(())
}

/// Returns the address of a pod, which has IPv6 if it listens on all addresses of IPv6.
fn address(rendered: &Rendered) -> &'static str {
    let is_ipv6 = rendered.args("epp").is_ok_and(|args| args.iter().any(|arg| arg == "--bind=::"));
    if is_ipv6 { "fd00::7" } else { "10.0.0.7" }
}

/// Writes the certificate that the chart made for a component, if it did.
fn write_certificates(rendered: &Rendered, component: &str, folder: &Path) -> anyhow::Result<()> {
    let Ok(secret) = rendered.object("Secret", &format!("signalbox-{component}-tls")) else { return Ok(()) };
    fs::create_dir_all(folder)?;
    for (name, value) in secret["data"].as_object().context("an empty Secret")? {
        let text = value.as_str().context("not text")?;
        fs::write(folder.join(name), STANDARD.decode(text)?)?;
    }
    Ok(())
}

/// Returns the values of a flag in arguments.
pub(crate) fn flag_values<'a>(args: &'a [String], flag: &str) -> Vec<&'a str> {
    let prefix = format!("--{flag}=");
    args.iter().filter_map(|arg| arg.strip_prefix(&prefix)).collect()
}

/// Returns the value of a flag that is given once.
pub(crate) fn flag_value(args: &[String], flag: &str) -> Value {
    match flag_values(args, flag)[..] {
        [value] => Value::from(value),
        _ => Value::Null,
    }
}
