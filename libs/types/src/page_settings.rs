//! How metrics pages are found and read unless an endpoint says otherwise.

use std::net::IpAddr;
use std::sync::Arc;

use crate::custom_engine::CustomEngine;
use crate::endpoint::MetricsTls;
use crate::engine::{Engine, UnknownEngine};

/// How metrics pages are found and read unless an endpoint says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageSettings {
    /// Engines besides the built-in ones. One with the name of a built-in engine replaces it.
    pub engines: Vec<Arc<CustomEngine>>,
    /// The engine of an endpoint that names none.
    pub default_engine: Engine,
    /// Label with which pods name their engine, before the usual ones.
    pub engine_label: Option<String>,
    /// Whether pages are served over https.
    pub is_https: bool,
    /// Port of the pages; `None`: that of the engine.
    pub port: Option<u16>,
    /// Path of the pages; `None`: that of the engine.
    pub path: Option<String>,
    /// Whether the certificates of https pages must be valid.
    pub tls: MetricsTls,
}

impl PageSettings {
    /// Returns the engine with this name.
    ///
    /// # Errors
    /// [`UnknownEngine`] if there is none.
    pub fn engine(&self, name: &str) -> Result<Engine, UnknownEngine> {
        match self.engines.iter().find(|custom| custom.name == name) {
            Some(custom) => Ok(Engine::Custom(Arc::clone(custom))),
            None => name.parse(),
        }
    }

    /// Returns the URL of the page of a server of kind `engine`. It takes requests at the port `port` of `host`, which is
    /// a host name or an IPv4 address, or an IPv6 address in brackets.
    pub fn metrics_url(&self, engine: &Engine, host: &str, port: u16) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        let port = self.port.or(engine.metrics_port()).unwrap_or(port);
        let path = self.path.as_deref().unwrap_or(engine.metrics_path());
        format!("{scheme}://{host}:{port}{path}")
    }
}

/// Returns `ip` as the host of a URL.
pub fn url_host(ip: IpAddr) -> String {
    if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_where_the_engine_serves_it_or_the_settings_say() {
        let settings = PageSettings::default();
        for (engine, expected) in [
            (Engine::Vllm, "http://[::1]:8000/metrics"),
            (Engine::TrtLlm, "http://[::1]:8000/prometheus/metrics"),
            (Engine::Triton, "http://[::1]:8002/metrics"),
            (Engine::TritonTrtLlm, "http://[::1]:8002/metrics"),
            (Engine::RayVllm, "http://[::1]:8080/metrics"),
        ] {
            assert_eq!(expected, settings.metrics_url(&engine, "[::1]", 8_000));
        }
        let path = Some("/stats".to_owned());
        let settings = PageSettings { is_https: true, port: Some(9), path, ..settings };
        assert_eq!("https://pod:9/stats", settings.metrics_url(&Engine::Triton, "pod", 8_000));
    }
}
