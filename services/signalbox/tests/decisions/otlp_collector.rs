//! A fake OpenTelemetry collector that stores what it receives.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// One export request and its metadata.
pub(crate) type Batch = (MetadataMap, ExportTraceServiceRequest);

/// A fake OpenTelemetry collector that stores what it receives.
#[derive(Clone, Default)]
pub(crate) struct OtlpCollector(Arc<Mutex<Vec<Batch>>>);

impl OtlpCollector {
    /// Starts a collector on a free port. It runs until the test ends.
    pub(crate) async fn start() -> (SocketAddr, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let collector = Self::default();
        let service = TraceServiceServer::new(collector.clone());
        let server = Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        (address, collector)
    }

    /// Returns all received batches.
    pub(crate) fn batches(&self) -> Vec<Batch> {
        self.0.lock().unwrap().clone()
    }

    /// Returns all received spans.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let resources = self.batches().into_iter().flat_map(|(_, batch)| batch.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }
}

#[tonic::async_trait]
impl TraceService for OtlpCollector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let metadata = request.metadata().clone();
        self.0.lock().unwrap().push((metadata, request.into_inner()));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Returns the value of the attribute `name`.
fn value<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    found.value.as_ref()?.value.as_ref()
}

/// Returns a text attribute.
pub(crate) fn text<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a str> {
    match value(attributes, name)? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Returns an integer attribute.
pub(crate) fn number(attributes: &[KeyValue], name: &str) -> Option<i64> {
    match value(attributes, name)? {
        Value::IntValue(number) => Some(*number),
        _ => None,
    }
}

/// Returns an attribute that is a list of texts.
pub(crate) fn texts(attributes: &[KeyValue], name: &str) -> Vec<String> {
    let text = |value: &AnyValue| match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{other:?} is not text"),
    };
    match value(attributes, name) {
        Some(Value::ArrayValue(list)) => list.values.iter().map(text).collect(),
        other => panic!("{other:?} is not a list"),
    }
}
