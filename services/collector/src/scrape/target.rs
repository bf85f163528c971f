//! Parses the URL of a metrics page.

use http::Uri;
use signalbox_types::MetricsTls;

/// A metrics page and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Host name or IP address, without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Value of the `host` header.
    pub(crate) authority: String,
    pub(crate) path: String,
    /// Whether the server's certificate must be valid; `None` without TLS.
    pub(crate) tls: Option<MetricsTls>,
    /// Whether it must be valid where this target redirects to.
    metrics_tls: MetricsTls,
}

impl Target {
    /// Parses `http://host[:port][/path]` or `https://host[:port][/path]`. `metrics_tls` is for the latter.
    pub(crate) fn parse(url: &str, metrics_tls: MetricsTls) -> Result<Self, String> {
        let invalid = |reason: &str| format!("invalid metrics URL \"{url}\": {reason}");
        let uri: Uri = url.parse().map_err(|error| invalid(&format!("{error}")))?;
        let (default_port, tls) = match uri.scheme_str() {
            Some("http") => (80, None),
            Some("https") => (443, Some(metrics_tls)),
            _ => return Err(invalid("only http:// and https:// are supported")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| invalid("it has no host"))?;
        let port = uri.port_u16().unwrap_or(default_port);
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            authority: format!("{host}:{port}"),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            tls,
            metrics_tls,
        })
    }

    /// Returns whether the page is on the same server, reached in the same way, as that of `other`.
    pub(crate) fn has_server_of(&self, other: &Self) -> bool {
        (&self.authority, self.tls) == (&other.authority, other.tls)
    }

    /// Returns the target at `location`, an absolute or relative URL to which this one redirects. It is on the same
    /// host: a server must not choose where else the collector connects, and shows its client certificate.
    pub(crate) fn redirected(&self, location: &str) -> Result<Self, String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let location = location.split('#').next().unwrap_or_default();
        let path = self.path.split('?').next().unwrap_or_default();
        let url = if has_scheme(location) {
            location.to_owned()
        } else if location.starts_with("//") {
            format!("{scheme}:{location}")
        } else if location.starts_with('/') {
            format!("{scheme}://{}{location}", self.authority)
        } else if location.starts_with('?') {
            format!("{scheme}://{}{path}{location}", self.authority)
        } else {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{scheme}://{}{folder}/{location}", self.authority)
        };
        let next = Self::parse(&url, self.metrics_tls)?;
        if self.tls.is_some() && next.tls.is_none() {
            return Err("it leaves https".to_owned());
        }
        if !next.host.eq_ignore_ascii_case(&self.host) {
            return Err("it is on another host; if the page is there, name it by metricsUrl".to_owned());
        }
        Ok(next)
    }
}

/// Returns whether the URL is absolute. A colon after the first `/` or `?` is part of a path or a query.
fn has_scheme(url: &str) -> bool {
    url.split(['/', '?']).next().is_some_and(|first| first.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed_or_rejected() {
        let parse = |url| Target::parse(url, MetricsTls::Verified);
        let target = parse("http://[::1]:8000/metrics?a=b").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("::1", 8000, "/metrics?a=b"));
        assert_eq!((target.authority.as_str(), target.tls), ("[::1]:8000", None));
        let target = parse("http://pod").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("pod", 80, "/"));
        let target = parse("https://10.0.0.1/metrics").unwrap();
        assert_eq!((target.port, target.tls), (443, Some(MetricsTls::Verified)));
        let target = parse("https://10.0.0.1/a/metrics?x=1").unwrap();
        for (location, expected) in [
            ("/metrics/", "https://10.0.0.1/metrics/"),
            ("metrics/#top", "https://10.0.0.1/a/metrics/"),
            ("?y=2", "https://10.0.0.1/a/metrics?y=2"),
            ("/metrics?from=http://pod", "https://10.0.0.1/metrics?from=http://pod"),
            ("metrics?from=http://pod", "https://10.0.0.1/a/metrics?from=http://pod"),
            ("//10.0.0.1:1/m?y=2", "https://10.0.0.1:1/m?y=2"),
            ("https://10.0.0.1:9/m", "https://10.0.0.1:9/m"),
        ] {
            assert_eq!(parse(expected), target.redirected(location), "{location}");
        }
        assert_eq!(Err("it leaves https".to_owned()), target.redirected("http://10.0.0.1/metrics"));
        assert!(target.redirected("ftp://10.0.0.1/").is_err());
        for elsewhere in ["//10.0.0.2/a/metrics", "https://pod/a/metrics", "https://[::1]/a/metrics"] {
            let error = target.redirected(elsewhere).unwrap_err();
            assert!(error.contains("another host") && error.contains("metricsUrl"), "{elsewhere}: {error}");
        }
        let plain = parse("http://10.0.0.1/metrics").unwrap();
        assert_eq!(parse("https://10.0.0.1/metrics"), plain.redirected("https://10.0.0.1/metrics"));
        assert!(plain.redirected("/other").unwrap().has_server_of(&plain));
        for bad in ["", "pod:80", "ftp://pod/metrics", "/metrics", "http://", "https://", "http://a b/"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
