//! Where an EPP replica listens, whom it follows, and what it goes by.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use signalbox_extproc::SubsetHint;
use signalbox_intake::Parsers;
use signalbox_lease::{Coordinator, CoordinatorFlags};
use signalbox_schedule::Policy;
use signalbox_state::PoolConfig;
use signalbox_telemetry::{LogFormat, TraceSettings, process_name};
use signalbox_tls::{Security, Serving, TlsFlags};
use signalbox_types::PeerAddress;

use crate::go_epp_flags::FamiliarFlags;
use crate::go_epp_ignored_flags::ForeignFlags;
use crate::policy_file::PolicyFlags;
use crate::serving::ServingFlags;

/// The endpoint picker: answers a gateway over ext-proc from its own view of the pool.
#[derive(Clone, Debug, Parser)]
#[command(name = "signalbox-epp", version, args_override_self = true)]
pub struct Flags {
    /// Where the pool's aggregators are, HOST:PORT; not needed with a coordinator, which knows them.
    #[arg(long, value_name = "ADDR", required_unless_present = "coordinator", num_args = 1.., value_delimiter = ',')]
    pub aggregator: Vec<PeerAddress>,
    /// The pool, NAMESPACE/NAME [default: the only one that the aggregators have]
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
    /// This replica's name, unlike any other's [default: from the host's name and the process]
    #[arg(long)]
    pub name: Option<String>,
    /// The coordinator.
    #[command(flatten)]
    pub coordinator: CoordinatorFlags,
    /// How the aggregators are spoken with.
    #[command(flatten)]
    pub tls: TlsFlags,
    /// Address to listen on.
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub bind: IpAddr,
    /// Port for gateways (ext-proc); 0 is any free one.
    #[arg(long, default_value_t = 9002)]
    pub grpc_port: u16,
    /// Port for gRPC health checks; 0 is any free one.
    #[arg(long, default_value_t = 9003)]
    pub grpc_health_port: u16,
    /// Port for the access log of gateways that leave responses off ext-proc; 0 is any free one.
    #[arg(long, default_value_t = 9004)]
    pub access_log_port: u16,
    /// Port for Prometheus metrics, /explain and /decisions; 0 is any free one.
    #[arg(long, default_value_t = 9090)]
    pub metrics_port: u16,
    /// How gateways are served.
    #[command(flatten)]
    pub serving: ServingFlags,
    /// Answer /explain and /decisions to others than this machine; they show prompts' match lengths and the state of the pool.
    #[arg(long)]
    pub explain_to_all: bool,
    /// How many of the latest decisions are kept for /decisions; 0 keeps none.
    #[arg(long, value_name = "N", default_value_t = EppConfig::DECISIONS as u32, value_parser = clap::value_parser!(u32).range(..=65_536))]
    pub decisions: u32,
    /// The longest request body, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = EppConfig::BODY_LIMIT_BYTES)]
    pub body_limit: usize,
    /// How much of all requests' bodies is held at once, in bytes; a request beyond it is refused with 503.
    #[arg(long, value_name = "BYTES", default_value_t = EppConfig::BUFFER_LIMIT_BYTES)]
    pub buffer_limit: u64,
    /// After how many seconds a client shall come again that is refused for want of room.
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    pub retry_after: u32,
    /// How many endpoints are named after the picked one, in case that it cannot be reached. Few gateways take more than one.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=7))]
    pub fallback_endpoints: u8,
    /// How long requests may take to end after SIGTERM.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,
    /// For so long other replicas' bookings count when the aggregator is silent. As its --origin-ttl.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = humantime::parse_duration)]
    pub origin_ttl: Duration,
    /// What decisions go by.
    #[command(flatten)]
    pub policy: PolicyFlags,
    /// How log lines look: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// `json` prints one line of JSON with the addresses once ready.
    #[arg(long, value_name = "FORMAT")]
    pub output: Option<Output>,
    /// Flags of the Go EPP.
    #[command(flatten)]
    pub familiar: FamiliarFlags,
    /// Flags of the Go EPP that have no effect.
    #[command(flatten)]
    pub unbooked_requests: ForeignFlags,
}

/// What is printed on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line of JSON once ready.
    Json,
}

/// Who may ask for explanations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExplainTo {
    /// This machine.
    Loopback,
    /// Everybody who reaches the metrics port.
    All,
}

/// Whether a gateway is told what came of the other endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointScores {
    /// It is told which endpoint was picked.
    Hidden,
    /// It is told the score of each, too.
    Emitted,
}

/// Where an EPP replica listens, whom it follows, and what it goes by.
#[derive(Clone, Debug)]
pub struct EppConfig {
    /// Its name, unlike any other replica's.
    pub name: String,
    /// The pool; `None`: the only one that the aggregators have.
    pub pool: Option<String>,
    /// Aggregators, beside those that the coordinator knows.
    pub aggregators: Vec<PeerAddress>,
    /// Where aggregators are found.
    pub coordinator: Option<Coordinator>,
    /// For so long the coordinator takes the replica for alive after its last word.
    pub lease_ttl: Duration,
    /// How aggregators are spoken with.
    pub security: Security,
    /// How gateways are served.
    pub serving: Serving,
    /// For gateways.
    pub ext_proc: SocketAddr,
    /// For health checks.
    pub health: SocketAddr,
    /// For gateways' access logs.
    pub access_log: SocketAddr,
    /// For Prometheus and explanations.
    pub metrics: SocketAddr,
    /// Who may ask for explanations.
    pub explain_to: ExplainTo,
    /// The longest request body, in bytes.
    pub body_limit_bytes: usize,
    /// How much of all requests' bodies is held at once, in bytes.
    pub buffer_limit_bytes: u64,
    /// After how many seconds a client shall come again that is refused for want of room.
    pub retry_after_s: u32,
    /// How many endpoints are named after the picked one.
    pub fallback_endpoints: usize,
    /// The longest message of a gateway, in bytes; see [`EppConfig::message_limit_bytes`].
    pub received_message_limit_bytes: usize,
    /// The longest message to a gateway, in bytes.
    pub sent_message_limit_bytes: usize,
    /// What becomes of the endpoints that a gateway names for a request.
    pub subset: SubsetHint,
    /// Whether a gateway is told what came of the other endpoints.
    pub scores: EndpointScores,
    /// How long requests may take to end when the replica is asked to.
    pub drain_timeout: Duration,
    /// For so long other replicas' bookings count when the aggregator is silent.
    pub origin_ttl: Duration,
    /// What decisions go by.
    pub policy: Policy,
    /// Which APIs are spoken.
    pub parsers: Parsers,
    /// How many of the latest decisions are kept.
    pub decisions: usize,
    /// Where spans are sent, if they are.
    pub tracing: Option<TraceSettings>,
}

impl EppConfig {
    /// How many of the latest decisions are kept unless told otherwise.
    pub const DECISIONS: usize = 256;

    /// The longest body unless told otherwise: 64 MiB.
    pub const BODY_LIMIT_BYTES: usize = 64 << 20;

    /// How much of all requests' bodies is held at once unless told otherwise: 1 GiB.
    pub const BUFFER_LIMIT_BYTES: u64 = 1 << 30;

    /// The longest message of a gateway where bodies may have so many bytes: a gateway may send a body in one, with what stands around it.
    pub const fn message_limit_bytes(body_limit_bytes: usize) -> usize {
        body_limit_bytes.saturating_add(1 << 20)
    }

    /// A replica on one machine with others, unless more is said: on free ports of loopback, without TLS, following nobody.
    pub fn local(name: impl Into<String>) -> Self {
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self {
            name: name.into(),
            pool: None,
            aggregators: Vec::new(),
            coordinator: None,
            lease_ttl: Duration::from_secs(2),
            security: Security::Local,
            serving: Serving::Plaintext,
            ext_proc: any,
            health: any,
            access_log: any,
            metrics: any,
            explain_to: ExplainTo::Loopback,
            body_limit_bytes: Self::BODY_LIMIT_BYTES,
            buffer_limit_bytes: Self::BUFFER_LIMIT_BYTES,
            retry_after_s: 1,
            fallback_endpoints: 0,
            received_message_limit_bytes: Self::message_limit_bytes(Self::BODY_LIMIT_BYTES),
            sent_message_limit_bytes: usize::MAX,
            subset: SubsetHint::Honoured,
            scores: EndpointScores::Hidden,
            drain_timeout: Duration::from_secs(5),
            origin_ttl: Duration::from_millis(PoolConfig::default().origin_ttl_ms),
            policy: Policy::default(),
            parsers: Parsers::default(),
            decisions: Self::DECISIONS,
            tracing: None,
        }
    }

    /// What `flags` say, but for the policy.
    ///
    /// # Errors
    /// When the coordinator is not one, a TLS file is of no use, or an aggregator is not to be spoken with without TLS.
    pub fn of(flags: &Flags) -> anyhow::Result<Self> {
        let security = Security::of(&flags.tls)?;
        flags.aggregator.iter().try_for_each(|aggregator| security.connects_to(aggregator))?;
        let familiar = &flags.familiar;
        let pool = flags.pool.clone().or_else(|| familiar.pool(std::env::var("NAMESPACE").ok()));
        let received = familiar.grpc_max_recv_msg_size.0;
        Ok(Self {
            name: flags.name.clone().unwrap_or_else(|| process_name("epp")),
            pool,
            aggregators: flags.aggregator.clone(),
            coordinator: flags.coordinator.connect()?,
            lease_ttl: flags.coordinator.lease_ttl,
            security,
            serving: flags.serving.serving()?,
            ext_proc: SocketAddr::new(flags.bind, flags.grpc_port),
            health: SocketAddr::new(flags.bind, flags.grpc_health_port),
            access_log: SocketAddr::new(flags.bind, flags.access_log_port),
            metrics: SocketAddr::new(flags.bind, flags.metrics_port),
            explain_to: if flags.explain_to_all { ExplainTo::All } else { ExplainTo::Loopback },
            body_limit_bytes: flags.body_limit,
            buffer_limit_bytes: flags.buffer_limit,
            retry_after_s: flags.retry_after,
            fallback_endpoints: flags.fallback_endpoints.into(),
            received_message_limit_bytes: received.unwrap_or(Self::message_limit_bytes(flags.body_limit)),
            sent_message_limit_bytes: familiar.grpc_max_send_msg_size.0.unwrap_or(usize::MAX),
            subset: match familiar.disable_endpoint_subset_filter {
                true => SubsetHint::Ignored,
                false => SubsetHint::Honoured,
            },
            scores: match familiar.emit_endpoint_scores {
                true => EndpointScores::Emitted,
                false => EndpointScores::Hidden,
            },
            drain_timeout: flags.drain_timeout,
            origin_ttl: flags.origin_ttl,
            policy: Policy::default(),
            parsers: Parsers::default(),
            decisions: flags.decisions as usize,
            tracing: None,
        })
    }
}
