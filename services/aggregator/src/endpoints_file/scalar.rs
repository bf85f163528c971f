//! Parses scalars: addresses, URLs, engines.

use std::net::{IpAddr, SocketAddr};

use http::Uri;
use signalbox_document::{closest_match, quoted, shortened};
use signalbox_types::{Engine, UnknownEngine};

/// Parses the name of an engine.
pub(super) fn engine(text: &str) -> Result<Engine, String> {
    text.parse().map_err(|UnknownEngine(name)| {
        let known = Engine::ALL.map(Engine::name);
        let hint = closest_match(&name, &known).map(|similar| format!("; did you mean {}?", quoted(similar)));
        format!("{}{}", UnknownEngine(shortened(&name)), hint.unwrap_or_default())
    })
}

/// Parses `IP:PORT`, with IPv6 addresses in brackets.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let shown = quoted(text);
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Err(format!("{shown} {}", address_problem(text)));
    };
    match address {
        _ if address.port() == 0 => Err(format!("{shown} has port 0; use a port from 1 to 65535")),
        _ if address.ip().is_unspecified() => {
            Err(format!("{shown} is not an address to connect to; write the IP address of the model server"))
        }
        SocketAddr::V6(v6) if text.contains('%') => {
            Err(format!("{shown} has a zone ID; write it without one: [{}]:{}", v6.ip(), v6.port()))
        }
        address => Ok(address),
    }
}

/// Describes why `text` is not an address, and how to write it.
fn address_problem(text: &str) -> String {
    const FORM: &str = "write IP:PORT, e.g. 127.0.0.1:8000";
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
            false => format!("has no port, and host names are not supported; {FORM}"),
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
        Err(_) => format!("has a host name, but only IP addresses are supported; {FORM}"),
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
            ("pod-a:80", "has a host name"),
            ("pod-a", "has no port, and host names"),
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
        assert_eq!(engine("sglang"), Ok(Engine::Sglang));
        let known = "use one of: vllm, sglang, trtllm-serve, triton-tensorrt-llm, triton, tgi";
        assert_eq!(engine("vlm"), Err(format!("unknown engine \"vlm\"; {known}; did you mean \"vllm\"?")));
        assert_eq!(engine("x\n"), Err(format!("unknown engine \"x\\n\"; {known}")));
    }
}
