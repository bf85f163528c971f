//! Creates the exporter that sends spans to a collector.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    Compression, Protocol as OtlpProtocol, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use rustls::ClientConfig;
use tokio::runtime::Handle;
use tonic::metadata::MetadataMap;

use super::error::TraceError;
use super::tls_files::{SystemAuthorities, TlsFiles};

/// How spans are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    /// Protobuf messages in HTTP requests.
    HttpProtobuf,
}

/// Where spans are sent to, and how.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) protocol: Protocol,
    /// URL of the service for gRPC, of the requests for HTTP: `http://`, or `https://` for TLS.
    pub(super) endpoint: String,
    pub(super) headers: MetadataMap,
    pub(super) timeout: Duration,
    pub(super) compression: Option<Compression>,
    pub(super) tls: TlsFiles,
}

impl Destination {
    /// Creates the exporter. Must be called within a Tokio runtime, which drives the connection.
    ///
    /// # Errors
    /// [`TraceError::Exporter`] if a file for TLS cannot be used or the endpoint is not a valid URL.
    pub(super) fn exporter(self) -> Result<SpanExporter, TraceError> {
        let system = match self.protocol {
            Protocol::HttpProtobuf if self.endpoint.starts_with("https:") => SystemAuthorities::Trusted,
            Protocol::HttpProtobuf | Protocol::Grpc => SystemAuthorities::Unread,
        };
        // Also reports files that cannot be used, which otherwise only a connection with TLS would.
        let tls = self.tls.rustls_config(system)?;
        match self.protocol {
            Protocol::Grpc => self.grpc_exporter(),
            Protocol::HttpProtobuf => self.http_exporter(tls),
        }
    }

    fn grpc_exporter(self) -> Result<SpanExporter, TraceError> {
        let mut builder = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&self.endpoint)
            .with_timeout(self.timeout)
            .with_metadata(self.headers);
        if self.endpoint.starts_with("https:") {
            builder = builder.with_tls_config(self.tls.tonic_config()?);
        }
        if let Some(compression) = self.compression {
            builder = builder.with_compression(compression);
        }
        builder.build().map_err(|error| TraceError::Exporter(error.to_string()))
    }

    fn http_exporter(self, tls: ClientConfig) -> Result<SpanExporter, TraceError> {
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Arc::new(HyperClient::new(connector, self.timeout, None));
        let headers = self.headers.into_headers();
        // The values were parsed from text.
        let headers = headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
        let mut builder = SpanExporter::builder()
            .with_http()
            .with_protocol(OtlpProtocol::HttpBinary)
            .with_http_client(OnRuntime { client, runtime: Handle::current() })
            .with_endpoint(self.endpoint)
            .with_timeout(self.timeout)
            .with_headers(headers.collect::<HashMap<_, _>>());
        if let Some(compression) = self.compression {
            builder = builder.with_compression(compression);
        }
        builder.build().map_err(|error| TraceError::Exporter(error.to_string()))
    }
}

/// A client whose requests run on a Tokio runtime, which it needs; the thread that exports spans is not on one.
#[derive(Debug)]
struct OnRuntime<C> {
    client: Arc<C>,
    runtime: Handle,
}

#[tonic::async_trait]
impl<C: HttpClient + 'static> HttpClient for OnRuntime<C> {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = Arc::clone(&self.client);
        self.runtime.spawn(async move { client.send_bytes(request).await }).await?
    }
}
