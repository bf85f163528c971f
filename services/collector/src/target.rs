//! Where a metrics page is.

use http::Uri;

/// A page reachable by plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Name or address, without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// For the `host` header.
    pub(crate) authority: String,
    pub(crate) path: String,
}

impl Target {
    /// Reads `http://host[:port][/path]`.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let bad = |what: &str| format!("\"{url}\" cannot be read: {what}");
        let uri: Uri = url.parse().map_err(|error| bad(&format!("{error}")))?;
        if uri.scheme_str() != Some("http") {
            return Err(bad("only http:// is supported"));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| bad("no host"))?;
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
    fn urls() {
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
