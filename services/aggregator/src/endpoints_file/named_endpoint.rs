//! Endpoints whose address is a host name.

use std::net::{IpAddr, SocketAddr};

use http::Uri;
use signalbox_types::{EndpointSpec, url_host};

/// An endpoint whose address is a host name: a model server at each address of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedEndpoint {
    /// The host name.
    pub host: String,
    /// Everything else; its IP address is without meaning.
    pub spec: EndpointSpec,
}

impl NamedEndpoint {
    /// Returns the endpoint at one address of the host. Its name has the address, so that it stays the same however
    /// many addresses the host has. Where the URL of the metrics page names the host, the address replaces it: each
    /// model server has its own page.
    pub fn at(&self, ip: IpAddr) -> EndpointSpec {
        let Self { host, spec } = self;
        let address = SocketAddr::new(ip, spec.address.port());
        EndpointSpec {
            name: format!("{}-{ip}", spec.name),
            address,
            metrics_url: with_ip(&spec.metrics_url, host, ip),
            ..spec.clone()
        }
    }
}

/// Returns `url` with `ip` in place of its host, if that is `host`.
fn with_ip(url: &str, host: &str, ip: IpAddr) -> String {
    let Ok(uri) = url.parse::<Uri>() else { return url.to_owned() };
    if !uri.host().is_some_and(|named| named.eq_ignore_ascii_case(host)) {
        return url.to_owned();
    }
    let ip = url_host(ip);
    let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    format!("{}://{ip}{port}{path}", uri.scheme_str().unwrap_or("http"))
}
