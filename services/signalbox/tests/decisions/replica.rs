//! An aggregator with a pool of three endpoints, an EPP replica that follows it, and a client that acts as
//! the gateway.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use signalbox_aggregator::{Aggregator, AggregatorConfig, AutoscalingConfig, PoolSource};
use signalbox_epp::{Epp, EppConfig, FlowControl, FlowMode, PortFlags};
use signalbox_protos::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request as Message;
use signalbox_protos::envoy::service::ext_proc::v3::processing_response::Response as Answer;
use signalbox_protos::envoy::service::ext_proc::v3::{
    HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse,
};
use signalbox_state::PoolConfig;
use signalbox_telemetry::TraceSettings;
use signalbox_tls::Security;
use signalbox_types::{EndpointSpec, Engine, MetricsTls, Models, Objective, PoolId, PoolSpec};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Size of the prompt: 4 blocks of 64 tokens of 4 bytes.
pub(crate) const PROMPT_BYTES: usize = 1_024;

/// Number of endpoints.
pub(crate) const ENDPOINTS: u16 = 3;

/// An EPP replica with a view of three endpoints, and its aggregator, unless that is another replica's.
pub(crate) struct Replica {
    aggregator: Option<Aggregator>,
    aggregator_address: SocketAddr,
    epp: Epp,
}

/// A request whose stream stays open.
pub(crate) struct OpenStream {
    pub(crate) answers: Streaming<ProcessingResponse>,
    _messages: mpsc::Sender<ProcessingRequest>,
}

impl Replica {
    pub(crate) async fn start(decisions: usize, tracing: Option<TraceSettings>) -> Self {
        let config = AggregatorConfig {
            name: "aggregator".to_owned(),
            advertise: None,
            coordinator: None,
            lease_ttl: Duration::from_secs(2),
            security: Security::Local,
            takeover_wait: Duration::ZERO,
            failback_after: Duration::from_secs(30),
            pool_drain: Duration::from_secs(60),
            history_bytes: 64 << 20,
            history_time: std::time::Duration::ZERO,
            listen: ANY_PORT,
            metrics: ANY_PORT,
            autoscaling: AutoscalingConfig::default(),
            pool: PoolConfig::default(),
        };
        let flags = signalbox_aggregator::PortFlags { listen: "", metrics: "" };
        let aggregator = Aggregator::start(config, vec![PoolSource::Fixed(pool())], flags).await.unwrap();
        let config = EppConfig { decision_history: decisions, tracing, ..EppConfig::local("epp") };
        let (aggregator_address, aggregator) = (aggregator.address(), Some(aggregator));
        let epp = start_epp(aggregator_address, config).await;
        Self { aggregator, aggregator_address, epp }
    }

    /// Starts another replica of the pool.
    pub(crate) async fn start_another(&self) -> Self {
        let epp = start_epp(self.aggregator_address, EppConfig::local("another epp")).await;
        Self { aggregator: None, aggregator_address: self.aggregator_address, epp }
    }

    /// Sends a request with these headers and a prompt of `count` of these letters, and leaves its stream open.
    pub(crate) async fn send(&self, headers: &[(&str, &str)], letter: &str, count: usize) -> OpenStream {
        let path = [(":method", "POST"), (":path", "/v1/completions")];
        let headers = path.iter().chain(headers).copied().collect();
        let prompt = letter.repeat(count);
        let body = format!(r#"{{"model":"llama","max_tokens":8,"prompt":"{prompt}"}}"#).into_bytes().into();
        let (messages, requests) = mpsc::channel(2);
        let headers = HttpHeaders { headers: Some(headers), ..HttpHeaders::default() };
        messages.send(Message::RequestHeaders(headers).into()).await.unwrap();
        messages.send(Message::RequestBody(HttpBody { body, end_of_stream: true }).into()).await.unwrap();
        let url = format!("http://{}", self.epp.ext_proc_address().unwrap());
        let mut client = ExternalProcessorClient::connect(url).await.unwrap();
        let answers = client.process(ReceiverStream::new(requests)).await.unwrap().into_inner();
        OpenStream { answers, _messages: messages }
    }

    /// Sends a request with these headers over ext-proc, and resets the stream once there is an answer. Returns
    /// whether it was a destination.
    pub(crate) async fn ask(&self, headers: &[(&str, &str)]) -> bool {
        let path = [(":method", "POST"), (":path", "/v1/completions")];
        let headers = path.iter().chain(headers).copied().collect();
        let prompt = "p".repeat(PROMPT_BYTES);
        let body = format!(r#"{{"model":"llama","max_tokens":8,"prompt":"{prompt}"}}"#).into_bytes().into();
        let messages = [
            Message::RequestHeaders(HttpHeaders { headers: Some(headers), ..HttpHeaders::default() }),
            Message::RequestBody(HttpBody { body, end_of_stream: true }),
        ];
        let messages = messages.map(ProcessingRequest::from);
        let url = format!("http://{}", self.epp.ext_proc_address().unwrap());
        let mut client = ExternalProcessorClient::connect(url).await.unwrap();
        let mut answers = client.process(tokio_stream::iter(messages)).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap();
        matches!(answer.and_then(|answer| answer.response), Some(Answer::RequestHeaders(_)))
    }

    /// Returns the response body of a path on the metrics port.
    pub(crate) async fn get(&self, path: &str) -> String {
        let uri = format!("http://{}{path}", self.epp.metrics_address()).parse().unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let body = client.get(uri).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    pub(crate) async fn stop(self) {
        self.epp.stop().await;
        if let Some(aggregator) = self.aggregator {
            aggregator.stop().await;
        }
    }
}

async fn start_epp(aggregator: SocketAddr, config: EppConfig) -> Epp {
    let flow_control = FlowControl { mode: FlowMode::On, ..FlowControl::default() };
    let config = EppConfig { aggregators: vec![aggregator.into()], flow_control, ..config };
    let flags = PortFlags { ext_proc: "", health: "", access_log: "", metrics: "" };
    let epp = Epp::start(config, flags).await.unwrap();
    epp.ready().await;
    epp
}

fn pool() -> PoolSpec {
    let endpoint = |index: u16| EndpointSpec {
        name: format!("pod-{index}"),
        address: SocketAddr::new(ANY_PORT.ip(), 40_000 + index),
        metrics_url: String::new(),
        engine: Engine::Vllm,
        labels: BTreeMap::new(),
        is_draining: false,
        metrics_tls: MetricsTls::Verified,
    };
    let id = PoolId { namespace: "default".to_owned(), name: "traced".to_owned() };
    let models = Models::new(vec![Objective { name: "interactive".to_owned(), priority: 10 }], Vec::new());
    PoolSpec { id, endpoints: (0..ENDPOINTS).map(endpoint).collect(), models: Arc::new(models) }
}
