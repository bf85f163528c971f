//! Parses scalars: addresses, URLs, engines.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::Uri;
use signalbox_document::{closest_match, quoted, shortened};
use signalbox_types::{Engine, PageSettings, UnknownEngine};

/// Parses the name of an engine: one that `settings` describe, or a built-in one.
pub(super) fn engine(text: &str, settings: &PageSettings) -> Result<Engine, String> {
    settings.engine(text).map_err(|UnknownEngine(name)| {
        let hint = match closest_match(&name, &Engine::NAMES) {
            Some(similar) => format!("; did you mean {}?", quoted(similar)),
            None => ", or describe it in engines".to_owned(),
        };
        format!("{}{hint}", UnknownEngine(shortened(&name)))
    })
}

/// Where an endpoint takes requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Ip(SocketAddr),
    /// All addresses of a host name, and the port.
    Host(String, u16),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// Parses `IP:PORT`, with IPv6 addresses in brackets, or `HOST:PORT`.
pub(super) fn address(text: &str) -> Result<Address, String> {
    let shown = quoted(text);
    let Ok(address) = text.parse::<SocketAddr>() else {
        return host_and_port(text).ok_or_else(|| format!("{shown} {}", address_problem(text)));
    };
    match address {
        _ if address.port() == 0 => Err(format!("{shown} has port 0; use a port from 1 to 65535")),
        _ if address.ip().is_unspecified() => {
            Err(format!("{shown} is not an address to connect to; write the IP address of the model server"))
        }
        SocketAddr::V6(v6) if text.contains('%') => {
            Err(format!("{shown} has a zone ID; write it without one: [{}]:{}", v6.ip(), v6.port()))
        }
        address => Ok(Address::Ip(address)),
    }
}

/// Parses `HOST:PORT`, where the host is a name.
fn host_and_port(text: &str) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let is_label = |label: &str| {
        let is_char = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(is_char)
    };
    let labels = host.strip_suffix('.').unwrap_or(host);
    // The last label of a name has a letter; otherwise it is an IPv4 address with a mistake.
    let is_named = labels.rsplit('.').next()?.bytes().any(|byte| byte.is_ascii_alphabetic());
    let is_host = is_named && host.len() <= 253 && labels.split('.').all(is_label);
    is_host.then(|| Address::Host(host.to_owned(), port))
}

/// Describes why `text` is not an address, and how to write it.
fn address_problem(text: &str) -> String {
    const FORM: &str = "write IP:PORT or HOST:PORT, e.g. 127.0.0.1:8000";
    if text.contains("://") {
        return format!("is a URL; {FORM}");
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        let example = SocketAddr::new(ip, 8000);
        return match ip {
            IpAddr::V6(_) if !text.starts_with('[') => {
                format!("is an IPv6 address without brackets and port; write [IP]:PORT, e.g. {example}")
            }
            _ => format!("has no port; write IP:PORT, e.g. {example}"),
        };
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => format!("is not an address; {FORM}"),
            false => format!("has no port; {FORM}"),
        };
    };
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(_) if port.parse::<u16>().is_err() => {
            format!("has the invalid port {}; use a port from 1 to 65535", quoted(port))
        }
        Ok(_) => format!("is not an address; {FORM}, with brackets only around IPv6 addresses"),
        Err(_) if host.starts_with('[') || host.contains(':') => {
            "has an invalid IPv6 address; write [IP]:PORT, e.g. [::1]:8000".to_owned()
        }
        Err(_) if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
            format!("has an invalid IPv4 address; {FORM}")
        }
        Err(_) if port.parse::<u16>().is_ok_and(|port| port > 0) => {
            format!("has an invalid host name; {FORM}")
        }
        Err(_) => format!("has the invalid port {}; use a port from 1 to 65535", quoted(port)),
    }
}

/// Parses `http://HOST[:PORT][/PATH]` or `https://HOST[:PORT][/PATH]`.
pub(super) fn metrics_url(text: &str) -> Result<String, String> {
    const FORM: &str = "write http://HOST:PORT/PATH";
    let invalid = |reason: &str| Err(format!("{} {reason}; {FORM}", quoted(text)));
    let Ok(uri) = text.parse::<Uri>() else { return invalid("is not a URL") };
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return invalid("is not an http:// or https:// URL"),
    }
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return invalid("has no host");
    };
    if authority.as_str().contains('@') {
        return invalid("has a user name, which is not supported");
    }
    let has_port = authority.as_str().len() > authority.host().len();
    match authority.port_u16() {
        None if !has_port => Ok(text.to_owned()),
        Some(port) if port > 0 => Ok(text.to_owned()),
        _ => invalid("has an invalid port, which must be from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_or_rejected_with_a_reason() {
        for host in ["vllm:80", "vllm.default.svc.cluster.local.:8000", "a_1-b:65535", "1.example:1"] {
            let (name, port) = host.rsplit_once(':').unwrap();
            let expected = Address::Host(name.to_owned(), port.parse().unwrap());
            assert_eq!(Ok(expected), address(host));
        }
        assert!(address("127.0.0.1:8000").is_ok());
        assert!(address("[::1]:65535").is_ok());
        for (text, reason) in [
            ("127.0.0.1", "\"127.0.0.1\" has no port; write IP:PORT, e.g. 127.0.0.1:8000"),
            ("[::1]", "has no port; write IP:PORT, e.g. [::1]:8000"),
            ("fe80::1", "without brackets"),
            ("127.0.0.1:0", "use a port from 1 to 65535"),
            ("127.0.0.1:65536", "has the invalid port \"65536\"; use a port"),
            ("127.0.0.1:", "has the invalid port \"\""),
            ("127.0.0.256:80", "an invalid IPv4"),
            ("[::g]:80", "an invalid IPv6"),
            ("[127.0.0.1]:80", "is not an address"),
            ("0.0.0.0:80", "not an address to connect to"),
            ("[fe80::1%3]:80", "write it without one: [fe80::1]:80"),
            ("http://127.0.0.1:80", "is a URL"),
            ("pod-a", "has no port; write IP:PORT or HOST:PORT"),
            ("pod-a:0", "has the invalid port \"0\""),
            ("pod a:80", "an invalid host name"),
            ("pod..a:80", "an invalid host name"),
            ("8000", "is not an address"),
            ("", "is not an address"),
        ] {
            let error = address(text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn metrics_urls_are_parsed_or_rejected() {
        for good in ["http://127.0.0.1:9000/metrics", "http://[::1]:80/", "http://pod", "https://pod/m?x=1"] {
            assert_eq!(metrics_url(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "pod:80",
            "/metrics",
            "ftp://pod/",
            "http://",
            "http://a b/",
            "http://u@pod/",
            "http://pod:99999/",
            "http://pod:0/",
            "http://:80/",
        ] {
            assert!(metrics_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_engine_is_rejected_with_the_closest_name() {
        let engine = |text| engine(text, &PageSettings::default());
        assert_eq!(engine("sglang"), Ok(Engine::Sglang));
        let known =
            "use one of: vllm, sglang, trtllm-serve, triton-tensorrt-llm, triton, tgi, llamacpp, ray-vllm";
        assert_eq!(engine("vlm"), Err(format!("unknown engine \"vlm\"; {known}; did you mean \"vllm\"?")));
        assert_eq!(
            engine("x\n"),
            Err(format!("unknown engine \"x\\n\"; {known}, or describe it in engines"))
        );
    }
}
