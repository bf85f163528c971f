//! Scalars that have a form of their own.

use std::net::{IpAddr, SocketAddr};
use std::time::UNIX_EPOCH;

use http::Uri;
use signalbox_document::{quoted, shortened, similar};
use signalbox_types::{Engine, UnknownEngine};

/// The longest name, in bytes, as in Kubernetes.
const NAME_MAX_BYTES: usize = 253;

/// A name that can be shown in a line and used as a label.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("is empty; give it a name".to_owned());
    }
    if text.trim() != text || text.contains(char::is_control) {
        return Err(format!("{} has white space around it or control characters; remove them", quoted(text)));
    }
    if text.len() > NAME_MAX_BYTES {
        return Err(format!("{} is longer than {NAME_MAX_BYTES} bytes; shorten it", quoted(text)));
    }
    Ok(text.to_owned())
}

/// A model by its name, which may be anything.
pub(super) fn model(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("is empty; name a model".to_owned()) } else { Ok(text.to_owned()) }
}

/// A time as Kubernetes writes it, in milliseconds since the Unix epoch.
pub(super) fn time_ms(text: &str) -> Result<u64, String> {
    let time = humantime::parse_rfc3339(text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let time_ms = time.and_then(|since| u64::try_from(since.as_millis()).ok());
    time_ms.ok_or_else(|| format!("{} is no time in UTC; write it as 2026-01-31T12:00:00Z", quoted(text)))
}

/// An engine by its name.
pub(super) fn engine(text: &str) -> Result<Engine, String> {
    text.parse().map_err(|UnknownEngine(name)| {
        let known = Engine::ALL.map(Engine::name);
        let mend = similar(&name, &known).map(|similar| format!("; did you mean {}?", quoted(similar)));
        format!("{}{}", UnknownEngine(shortened(&name)), mend.unwrap_or_default())
    })
}

/// `IP:PORT`, IPv6 in brackets.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let shown = quoted(text);
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Err(format!("{shown} {}", why_no_address(text)));
    };
    match address {
        _ if address.port() == 0 => Err(format!("{shown} has port 0; ports are 1 to 65535")),
        _ if address.ip().is_unspecified() => {
            Err(format!("{shown} is no address to connect to; write the server's own IP"))
        }
        SocketAddr::V6(v6) if text.contains('%') => {
            Err(format!("{shown} has a zone; write it without: [{}]:{}", v6.ip(), v6.port()))
        }
        address => Ok(address),
    }
}

fn why_no_address(text: &str) -> String {
    const FORM: &str = "write IP:PORT, e.g. 127.0.0.1:8000";
    if text.contains("://") {
        return format!("is a URL; {FORM}");
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        let example = SocketAddr::new(ip, 8000);
        return match ip {
            IpAddr::V6(_) if !text.starts_with('[') => {
                format!("is IPv6 without brackets and port; write [IP]:PORT, e.g. {example}")
            }
            _ => format!("has no port; write IP:PORT, e.g. {example}"),
        };
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => format!("is no address; {FORM}"),
            false => format!("has no port, and a host name cannot be used; {FORM}"),
        };
    };
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(_) if port.parse::<u16>().is_err() => {
            format!("has the port {}; ports are 1 to 65535", quoted(port))
        }
        Ok(_) => format!("is no address; {FORM}, and IPv6 in brackets"),
        Err(_) if host.starts_with('[') || host.contains(':') => {
            "has no valid IPv6 address; write [IP]:PORT, e.g. [::1]:8000".to_owned()
        }
        Err(_) if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
            format!("has no valid IPv4 address; {FORM}")
        }
        Err(_) => format!("has a host name, and only an IP can be used; {FORM}"),
    }
}

/// `http://host[:port][/path]`.
pub(super) fn metrics_url(text: &str) -> Result<String, String> {
    const FORM: &str = "write http://HOST:PORT/PATH";
    let bad = |why: &str| Err(format!("{} {why}; {FORM}", quoted(text)));
    let Ok(uri) = text.parse::<Uri>() else { return bad("is no URL") };
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return bad("is an https URL, and only http is supported"),
        _ => return bad("is no http:// URL"),
    }
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return bad("has no host");
    };
    if authority.as_str().contains('@') {
        return bad("has a user name, which is not supported");
    }
    let has_port = authority.as_str().len() > authority.host().len();
    match authority.port_u16() {
        None if !has_port => Ok(text.to_owned()),
        Some(port) if port > 0 => Ok(text.to_owned()),
        _ => bad("has a bad port, ports are 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert!(address("127.0.0.1:8000").is_ok());
        assert!(address("[::1]:65535").is_ok());
        for (text, why) in [
            ("127.0.0.1", "\"127.0.0.1\" has no port; write IP:PORT, e.g. 127.0.0.1:8000"),
            ("[::1]", "has no port; write IP:PORT, e.g. [::1]:8000"),
            ("fe80::1", "without brackets"),
            ("127.0.0.1:0", "ports are 1 to 65535"),
            ("127.0.0.1:65536", "has the port \"65536\"; ports are"),
            ("127.0.0.1:", "has the port \"\""),
            ("127.0.0.256:80", "no valid IPv4"),
            ("[::g]:80", "no valid IPv6"),
            ("[127.0.0.1]:80", "is no address"),
            ("0.0.0.0:80", "no address to connect to"),
            ("[fe80::1%3]:80", "write it without: [fe80::1]:80"),
            ("http://127.0.0.1:80", "is a URL"),
            ("pod-a:80", "has a host name"),
            ("pod-a", "has no port, and a host name"),
            ("8000", "is no address"),
            ("", "is no address"),
        ] {
            let error = address(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn metrics_urls() {
        for good in ["http://127.0.0.1:9000/metrics", "http://[::1]:80/", "http://pod", "http://pod/m?x=1"] {
            assert_eq!(metrics_url(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "pod:80",
            "/metrics",
            "https://pod/",
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
    fn names() {
        assert!(name("pod-a").is_ok());
        for bad in ["", "  ", " a", "a\nb", &"a".repeat(254)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(Ok(0), time_ms("1970-01-01T00:00:00Z"));
        assert_eq!(Ok(1_769_860_800_250), time_ms("2026-01-31T12:00:00.25Z"));
        for bad in [
            "",
            "now",
            "2026-01-31",
            "2026-01-31T12:00:00+02:00",
            "2026-13-31T12:00:00Z",
            "é026-01-31T12:00:00Z",
        ] {
            assert!(time_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn engines() {
        assert_eq!(engine("sglang"), Ok(Engine::Sglang));
        let known = "known are: vllm, sglang, trtllm-serve, triton-tensorrt-llm, triton, tgi";
        assert_eq!(engine("vlm"), Err(format!("unknown engine \"vlm\", {known}; did you mean \"vllm\"?")));
        assert_eq!(engine("x\n"), Err(format!("unknown engine \"x\\n\", {known}")));
    }
}
