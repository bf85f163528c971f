//! Configuration of a replica.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use signalbox_admission::FlowControl;
use signalbox_extproc::SubsetHint;
use signalbox_intake::Parsers;
use signalbox_lease::Coordinator;
use signalbox_peers::FollowedPools;
use signalbox_schedule::Policy;
use signalbox_state::PoolConfig;
use signalbox_telemetry::TraceSettings;
use signalbox_tls::{Security, ServerTls};
use signalbox_types::{MediaWeights, PeerAddress};

/// Which clients may call `/explain`, `/decisions` and `/queues`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExplainAccess {
    /// Clients on this host.
    Loopback,
    /// All clients that reach the metrics port.
    Anyone,
}

/// Whether answers to gateways carry the candidates' scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointScores {
    /// Answers name the picked endpoint only.
    Hidden,
    /// Answers carry each candidate's score, too.
    Emitted,
}

/// Configuration of a replica.
#[derive(Clone, Debug)]
pub struct EppConfig {
    /// Name, unique among the replicas.
    pub name: String,
    /// Pools to serve.
    pub pools: FollowedPools,
    /// Aggregators, in addition to those that the coordinator knows.
    pub aggregators: Vec<PeerAddress>,
    /// Where aggregators register.
    pub coordinator: Option<Coordinator>,
    /// How long the coordinator keeps the replica's registration without a renewal.
    pub lease_ttl: Duration,
    /// Security of connections to aggregators.
    pub security: Security,
    /// Security of connections from gateways.
    pub serving: ServerTls,
    /// Listen address for gateways. With all pools, the port is for those that name none.
    pub ext_proc: SocketAddr,
    /// Listen address for health checks.
    pub health: SocketAddr,
    /// Listen address for gateways' access logs.
    pub access_log: SocketAddr,
    /// Listen address for Prometheus and explanations.
    pub metrics: SocketAddr,
    /// Which clients may call `/explain`, `/decisions` and `/queues`.
    pub explain_access: ExplainAccess,
    /// Maximum size of a request body, in bytes.
    pub body_limit_bytes: usize,
    /// Maximum size of all request bodies together that are buffered to be read, in bytes.
    pub buffer_limit_bytes: u64,
    /// Weights of media in prompts, in tokens.
    pub media_weights: MediaWeights,
    /// `Retry-After` of requests that are refused for lack of buffer space, in seconds.
    pub retry_after_s: u32,
    /// Number of fallback endpoints after the picked one in an answer.
    pub fallback_endpoints: usize,
    /// Maximum size of a message from a gateway, in bytes; see [`EppConfig::message_limit_bytes`].
    pub received_message_limit_bytes: usize,
    /// Maximum size of a message to a gateway, in bytes.
    pub sent_message_limit_bytes: usize,
    /// How the subset of endpoints that a gateway names for a request is treated.
    pub subset: SubsetHint,
    /// Whether answers carry the candidates' scores.
    pub scores: EndpointScores,
    /// How long a drain leaves gateways to notice that the replica is not serving, before it accepts no new
    /// requests.
    pub drain_delay: Duration,
    /// How long open requests may then take to end.
    pub drain_timeout: Duration,
    /// How long other replicas' bookings count without a message from the owner; use the same value as the
    /// aggregators' --origin-ttl.
    pub origin_ttl: Duration,
    /// How endpoints are chosen.
    pub policy: Policy,
    /// Which requests wait, and for how long.
    pub flow_control: FlowControl,
    /// Enabled request parsers.
    pub parsers: Parsers,
    /// Number of latest decisions to keep per pool.
    pub decision_history: usize,
    /// Where spans are sent; `None` for nowhere.
    pub tracing: Option<TraceSettings>,
}

impl EppConfig {
    /// Default number of latest decisions to keep.
    pub const DECISION_HISTORY: usize = 256;

    /// Default maximum size of a request body: 64 MiB.
    pub const BODY_LIMIT_BYTES: usize = 64 << 20;

    /// Default maximum size of all buffered request bodies together: 1 GiB.
    pub const BUFFER_LIMIT_BYTES: u64 = 1 << 30;

    /// Returns the maximum size of a gateway's message for a limit on bodies: a gateway may send a whole body
    /// and its framing in one message.
    pub const fn message_limit_bytes(body_limit_bytes: usize) -> usize {
        body_limit_bytes.saturating_add(1 << 20)
    }

    /// Returns the configuration of a replica on this host: on free loopback ports, without TLS and without
    /// aggregators.
    pub fn local(name: impl Into<String>) -> Self {
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self {
            name: name.into(),
            pools: FollowedPools::One(None),
            aggregators: Vec::new(),
            coordinator: None,
            lease_ttl: Duration::from_secs(2),
            security: Security::Local,
            serving: ServerTls::Plaintext,
            ext_proc: any,
            health: any,
            access_log: any,
            metrics: any,
            explain_access: ExplainAccess::Loopback,
            body_limit_bytes: Self::BODY_LIMIT_BYTES,
            buffer_limit_bytes: Self::BUFFER_LIMIT_BYTES,
            media_weights: MediaWeights::default(),
            retry_after_s: 1,
            fallback_endpoints: 0,
            received_message_limit_bytes: Self::message_limit_bytes(Self::BODY_LIMIT_BYTES),
            sent_message_limit_bytes: usize::MAX,
            subset: SubsetHint::Honored,
            scores: EndpointScores::Hidden,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(5),
            origin_ttl: Duration::from_millis(PoolConfig::default().origin_ttl_ms),
            policy: Policy::default(),
            flow_control: FlowControl::default(),
            parsers: Parsers::default(),
            decision_history: Self::DECISION_HISTORY,
            tracing: None,
        }
    }
}
