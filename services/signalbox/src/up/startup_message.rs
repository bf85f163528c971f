//! The output of `signalbox up` when all components run.

use std::fmt::Write;

use serde_json::{Value, json};

use super::envoy;
use super::simulators::Simulators;
use super::system::{RunningGateway, System};

/// Returns all addresses as JSON.
pub(super) fn as_json(system: &System) -> Value {
    let epps: Vec<_> = system
        .epps
        .iter()
        .map(|epp| {
            json!({
                "ext_proc": epp.ext_proc_address().map(|address| address.to_string()),
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

/// Returns all addresses and example commands as text.
pub(super) fn as_text(system: &System) -> String {
    let mut text = String::from("signalbox is ready\n\n");
    let mut row = |name: &str, address: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<13} {address}");
    };
    for (index, address) in simulators(system).iter().enumerate() {
        row(&format!("simulator {index}"), &format!("http://{address}"));
    }
    for (index, aggregator) in system.aggregators.iter().enumerate() {
        let (address, metrics) = (aggregator.address(), aggregator.metrics_address());
        row(&format!("aggregator {index}"), &format!("{address}   metrics http://{metrics}/metrics"));
    }
    for (index, collector) in system.collectors.iter().enumerate() {
        row(
            &format!("collector {index}"),
            &format!("metrics http://{}/metrics", collector.metrics_address()),
        );
    }
    for (index, epp) in system.epps.iter().enumerate() {
        let ext_proc = epp.ext_proc_address().map_or("none".to_owned(), |address| address.to_string());
        let (health, metrics) = (epp.health_address(), epp.metrics_address());
        row(
            &format!("epp {index}"),
            &format!("ext-proc {ext_proc}   health {health}   metrics http://{metrics}/metrics"),
        );
    }
    match &system.gateway {
        Some(gateway) => {
            let kind = match gateway {
                RunningGateway::Embedded(_) => "embedded, for local use only".to_owned(),
                RunningGateway::Envoy(envoy) => format!("Envoy, configured by {}", envoy.file.display()),
            };
            row("gateway", &format!("http://{}   {kind}", gateway.address()));
            text.push_str(&example_commands(&format!("http://{}", gateway.address()), system));
        }
        None => text.push_str(&envoy_instructions(system)),
    }
    text
}

fn simulators(system: &System) -> Vec<String> {
    let addresses = system.simulators.iter().flat_map(Simulators::addresses);
    addresses.map(|address| address.to_string()).collect()
}

fn example_commands(gateway: &str, system: &System) -> String {
    let model = if system.simulators.is_some() { "llama3-8b" } else { "MODEL" };
    let body = format!(
        r#"{{"model": "{model}", "stream": true, "max_tokens": 32, "messages": [{{"role": "user", "content": "Which signal is next?"}}]}}"#
    );
    // The path by which this process was started, because the binary need not be on the PATH.
    let signalbox = std::env::args().next().unwrap_or_else(|| "signalbox".to_owned());
    format!(
        "\nTry it:\n\n  curl -N {gateway}/v1/chat/completions -H 'content-type: application/json' -d '{body}'\n  \
         {signalbox} load --to {gateway}\n\nPress Ctrl-C to drain and exit.\n"
    )
}

fn envoy_instructions(system: &System) -> String {
    let addresses: Vec<_> = system.epps.iter().filter_map(signalbox_epp::Epp::ext_proc_address).collect();
    format!(
        "\nNo gateway is running. To use your own Envoy:\n\n{}\nPress Ctrl-C to drain and exit.\n",
        envoy::config(system.gateway_listen, &addresses, system.picker_transport)
    )
}
