//! Collectors that pass on what they receive.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Uri};
use axum::routing::post;
use axum::serve::Listener;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::certificates::Certificates;

/// An HTTP request that a collector received.
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Starts a collector that receives spans in HTTP requests, with TLS if there are certificates.
pub(crate) async fn start_http(
    certificates: Option<&Certificates>,
) -> (SocketAddr, UnboundedReceiver<Received>) {
    let (sender, received) = unbounded_channel();
    let receive = move |uri: Uri, headers: HeaderMap, body: Bytes| async move {
        sender.send(Received { path: uri.path().to_owned(), headers, body }).unwrap();
    };
    let app = Router::new().fallback(post(receive));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    match certificates.map(Certificates::server_config) {
        None => drop(tokio::spawn(async move { axum::serve(listener, app).await })),
        Some(config) => {
            drop(tokio::spawn(async move { axum::serve(TlsListener { listener, config }, app).await }));
        }
    }
    (address, received)
}

/// Accepts TLS connections.
struct TlsListener {
    listener: TcpListener,
    config: Arc<ServerConfig>,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            if let Ok(stream) = TlsAcceptor::from(self.config.clone()).accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Starts a collector that receives spans over gRPC with TLS.
pub(crate) async fn start_grpc(
    certificates: &Certificates,
) -> (SocketAddr, UnboundedReceiver<ExportTraceServiceRequest>) {
    let (sender, received) = unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(certificates.text("certificate"), certificates.text("key")))
        .client_ca_root(Certificate::from_pem(certificates.text("ca")));
    let service = TraceServiceServer::new(GrpcCollector(sender)).accept_compressed(CompressionEncoding::Gzip);
    let server = Server::builder().tls_config(tls).unwrap().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    (address, received)
}

struct GrpcCollector(UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for GrpcCollector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
