//! What is printed once everything runs.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use super::envoy;
use super::system::{Front, System};

/// Where the Envoy of the printed configuration listens.
const EXAMPLE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// All addresses, for programs.
pub(super) fn as_json(system: &System) -> Value {
    let epps: Vec<_> = system
        .epps
        .iter()
        .map(|epp| {
            json!({
                "ext_proc": epp.ext_proc_address().to_string(),
                "health": epp.health_address().to_string(),
                "metrics": epp.metrics_address().to_string(),
            })
        })
        .collect();
    json!({
        "gateway": system.gateway.as_ref().map(|gateway| format!("http://{}", gateway.address())),
        "epp": epps,
        "aggregators": system.aggregators.iter().map(|aggregator| aggregator.address().to_string()).collect::<Vec<_>>(),
        "collectors": system.collectors.iter().map(|collector| collector.metrics_address().to_string()).collect::<Vec<_>>(),
        "simulators": simulators(system),
    })
}

/// What listens where, and what to try, for people.
pub(super) fn as_text(system: &System) -> String {
    let mut text = String::from("signalbox is up\n\n");
    let mut row = |what: &str, at: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {what:<13} {at}");
    };
    for (index, address) in simulators(system).iter().enumerate() {
        row(&format!("simulator {index}"), &format!("http://{address}"));
    }
    for (index, aggregator) in system.aggregators.iter().enumerate() {
        let (at, shown) = (aggregator.address(), aggregator.metrics_address());
        row(&format!("aggregator {index}"), &format!("{at}   metrics http://{shown}/metrics"));
    }
    for (index, collector) in system.collectors.iter().enumerate() {
        row(
            &format!("collector {index}"),
            &format!("metrics http://{}/metrics", collector.metrics_address()),
        );
    }
    for (index, epp) in system.epps.iter().enumerate() {
        let (ext_proc, health, metrics) =
            (epp.ext_proc_address(), epp.health_address(), epp.metrics_address());
        row(
            &format!("epp {index}"),
            &format!("ext-proc {ext_proc}   health {health}   metrics http://{metrics}/metrics"),
        );
    }
    match &system.gateway {
        Some(gateway) => {
            let what = match gateway {
                Front::Embedded(_) => "(for local use)".to_owned(),
                Front::Envoy(envoy) => format!("Envoy, by {}", envoy.file.display()),
            };
            row("gateway", &format!("http://{}   {what}", gateway.address()));
            text.push_str(&try_it(&format!("http://{}", gateway.address()), system));
        }
        None => text.push_str(&bring_your_own(system)),
    }
    text
}

fn simulators(system: &System) -> Vec<String> {
    let servers = system.simulators.iter().flat_map(|fleet| fleet.servers());
    servers.map(|server| server.address().to_string()).collect()
}

fn try_it(gateway: &str, system: &System) -> String {
    let model = if system.simulators.is_some() { "llama3-8b" } else { "MODEL" };
    let body = format!(
        r#"{{"model": "{model}", "stream": true, "max_tokens": 32, "messages": [{{"role": "user", "content": "Which signal is next?"}}]}}"#
    );
    // As it was called: a build need not be on anybody's path.
    let signalbox = std::env::args().next().unwrap_or_else(|| "signalbox".to_owned());
    format!(
        "\nTry it:\n\n  curl -N {gateway}/v1/chat/completions -H 'content-type: application/json' -d '{body}'\n  \
         {signalbox} load --to {gateway}\n\nCtrl-C drains and ends.\n"
    )
}

fn bring_your_own(system: &System) -> String {
    let addresses: Vec<_> = system.epps.iter().map(signalbox_epp::Epp::ext_proc_address).collect();
    format!(
        "\nNo gateway of our own. For Envoy:\n\n{}\nCtrl-C drains and ends.\n",
        envoy::config(EXAMPLE, &addresses, system.dialling)
    )
}
