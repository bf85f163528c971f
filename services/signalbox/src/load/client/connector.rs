//! Opens connections, with TLS for https.

use std::path::PathBuf;

use anyhow::Context;
use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use signalbox_tls::{PageTls, PageTlsFiles};
use signalbox_types::MetricsTls;

/// Opens connections with or without TLS, by the scheme of the URL.
pub(crate) type Connector = HttpsConnector<HttpConnector>;

/// Which certificates are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Those of the platform's authorities.
    #[default]
    Platform,
    /// Those of the authorities in a file.
    Authorities(PathBuf),
    /// Any.
    Anyone,
}

/// Returns a connector for `url`.
///
/// # Errors
/// When the authorities cannot be read.
pub(crate) async fn connector(url: &Uri, trust: &Trust) -> anyhow::Result<Connector> {
    let (tls, verification) = match trust {
        // Without TLS, no authorities are needed, and there may be none.
        _ if url.scheme_str() == Some("http") => (PageTls::default(), MetricsTls::Unverified),
        Trust::Platform => (PageTls::default(), MetricsTls::Verified),
        Trust::Authorities(file) => {
            let files = PageTlsFiles { ca: Some(file.clone()), own: None };
            (PageTls::with_files(files).context("--ca")?, MetricsTls::Verified)
        }
        Trust::Anyone => (PageTls::default(), MetricsTls::Unverified),
    };
    let mut config = (*tls.client_config(verification).await?).clone();
    // Only HTTP/1.1 is spoken; the connector insists on saying so itself.
    config.alpn_protocols.clear();
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.enforce_http(false);
    let https = HttpsConnectorBuilder::new().with_tls_config(config);
    Ok(https.https_or_http().enable_http1().wrap_connector(http))
}
