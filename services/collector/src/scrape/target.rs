//! Parses the URL of a metrics page.

use http::Uri;

/// A metrics page reachable over plaintext HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Host name or IP address, without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Value of the `host` header.
    pub(crate) authority: String,
    pub(crate) path: String,
}

impl Target {
    /// Parses `http://host[:port][/path]`.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let invalid = |reason: &str| format!("invalid metrics URL \"{url}\": {reason}");
        let uri: Uri = url.parse().map_err(|error| invalid(&format!("{error}")))?;
        if uri.scheme_str() != Some("http") {
            return Err(invalid("only http:// is supported"));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| invalid("it has no host"))?;
        let port = uri.port_u16().unwrap_or(80);
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            authority: format!("{host}:{port}"),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed_or_rejected() {
        let target = Target::parse("http://[::1]:8000/metrics?a=b").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("::1", 8000, "/metrics?a=b"));
        assert_eq!(target.authority, "[::1]:8000");
        let target = Target::parse("http://pod").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("pod", 80, "/"));
        for bad in ["", "pod:80", "https://pod/metrics", "/metrics", "http://", "http://a b/"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
