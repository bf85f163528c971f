//! An aggregator with a pool of three endpoints, an EPP replica that follows it, and a client that acts as
//! the gateway.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use signalbox_aggregator::{Aggregator, AggregatorConfig, PoolSource};
use signalbox_epp::{Epp, EppConfig, PortFlags};
use signalbox_protos::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request as Message;
use signalbox_protos::envoy::service::ext_proc::v3::processing_response::Response as Answer;
use signalbox_protos::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders, ProcessingRequest};
use signalbox_state::PoolConfig;
use signalbox_telemetry::TraceSettings;
use signalbox_tls::Security;
use signalbox_types::{EndpointSpec, Engine, MetricsTls, PoolId, PoolSpec};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Size of the prompt: 4 blocks of 64 tokens of 4 bytes.
pub(crate) const PROMPT_BYTES: usize = 1_024;

/// An EPP replica with a view of three endpoints, and its aggregator.
pub(crate) struct Replica {
    aggregator: Aggregator,
    epp: Epp,
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
            pool: PoolConfig::default(),
        };
        let flags = signalbox_aggregator::PortFlags { listen: "", metrics: "" };
        let aggregator = Aggregator::start(config, vec![PoolSource::Fixed(pool())], flags).await.unwrap();
        let config = EppConfig {
            aggregators: vec![aggregator.address().into()],
            decision_history: decisions,
            tracing,
            ..EppConfig::local("epp")
        };
        let epp = Epp::start(config, PortFlags { ext_proc: "", health: "", access_log: "", metrics: "" })
            .await
            .unwrap();
        epp.ready().await;
        Self { aggregator, epp }
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
        self.aggregator.stop().await;
    }
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
    PoolSpec { id, endpoints: (0..3).map(endpoint).collect(), models: std::sync::Arc::default() }
}
