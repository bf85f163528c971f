//! The command line of `signalbox-epp`.

mod command_line;
mod go_epp;
mod go_epp_ignored;
mod media_tokens;
mod policy;
mod serving;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Parser, ValueEnum};
use signalbox_admission::FlowControl;
use signalbox_extproc::SubsetHint;
use signalbox_intake::Parsers;
use signalbox_lease::CoordinatorFlags;
use signalbox_peers::FollowedPools;
use signalbox_schedule::Policy;
use signalbox_telemetry::{LogFormat, process_name};
use signalbox_tls::{Security, TlsFlags};
use signalbox_types::PeerAddress;

use crate::config::{EndpointScores, EppConfig, ExplainAccess};

pub(crate) use command_line::EX_USAGE;
pub use command_line::UsageError;
pub use go_epp::{GoEppFlags, LogLevel, MessageSize, ZapEncoder};
pub use go_epp_ignored::{IgnoredFlag, IgnoredGoEppFlags};
pub use media_tokens::MediaTokens;
pub use policy::{FlowSwitch, LoadedPolicy, PolicyFlags};
pub use serving::ServingFlags;

/// Endpoint picker: tells a gateway over ext-proc which endpoint serves each request.
#[derive(Clone, Debug, Parser)]
#[command(name = "signalbox-epp", version, args_override_self = true)]
pub struct Flags {
    /// Addresses of aggregators; optional with a coordinator, which knows them. With --all-pools, a host name
    /// stands for all its IP addresses, and the aggregators name each other.
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "coordinator", num_args = 1.., value_delimiter = ',')]
    pub aggregator: Vec<PeerAddress>,
    /// Pool to serve, NAMESPACE/NAME [default: the only one that the aggregators have]
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
    /// Serve all pools that the aggregators have, each on its own port.
    #[arg(long, requires = "aggregator", conflicts_with_all = ["pool", "pool_name", "endpoint-selector"])]
    pub all_pools: bool,
    /// Name of this replica, unique among the replicas [default: host name and process ID]
    #[arg(long)]
    pub name: Option<String>,
    /// The coordinator.
    #[command(flatten)]
    pub coordinator: CoordinatorFlags,
    /// TLS of connections to aggregators.
    #[command(flatten)]
    pub tls: TlsFlags,
    /// IP address to listen on.
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub bind: IpAddr,
    /// Port for gateways (ext-proc); 0 selects a free port. With --all-pools, the port of pools that name none
    #[arg(long, value_name = "PORT", default_value_t = 9002)]
    pub grpc_port: u16,
    /// Port for gRPC health checks; 0 selects a free port
    #[arg(long, value_name = "PORT", default_value_t = 9003)]
    pub grpc_health_port: u16,
    /// Port for the access log of gateways that do not send responses over ext-proc; 0 selects a free port
    #[arg(long, value_name = "PORT", default_value_t = 9004)]
    pub access_log_port: u16,
    /// Port for Prometheus metrics, /explain, /decisions and /queues; 0 selects a free port
    #[arg(long, value_name = "PORT", default_value_t = 9090)]
    pub metrics_port: u16,
    /// Connections from gateways.
    #[command(flatten)]
    pub serving: ServingFlags,
    /// Serve /explain, /decisions and /queues to other hosts, too; they show prompts' match lengths, fairness ids and
    /// the state of the pool.
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub allow_remote_explain: bool,
    /// Number of latest decisions to keep for /decisions, per pool; 0 keeps none.
    #[arg(long, value_name = "N", default_value_t = EppConfig::DECISION_HISTORY as u32, value_parser = clap::value_parser!(u32).range(..=65_536))]
    pub decision_history: u32,
    /// Maximum size of a request body, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = EppConfig::BODY_LIMIT_BYTES)]
    pub body_limit: usize,
    /// Maximum size of all request bodies together that are buffered to be read, in bytes; requests beyond it are refused
    /// with status 503.
    #[arg(long, value_name = "BYTES", default_value_t = EppConfig::BUFFER_LIMIT_BYTES)]
    pub buffer_limit: u64,
    /// Tokens of media of unknown size in prompts: KIND=TOKENS, comma-separated; kinds are image, audio, video, file
    /// and encrypted-reasoning [default: image=1024,audio=750,video=8192,file=4096,encrypted-reasoning=128]
    #[arg(long, value_name = "WEIGHTS")]
    pub media_tokens: Option<MediaTokens>,
    /// Retry-After of requests that are refused for lack of buffer space, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    pub retry_after: u32,
    /// Number of fallback endpoints to send after the picked one, in case it is unreachable. Few gateways use
    /// them.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=7))]
    pub fallback_endpoints: u8,
    /// How long new requests are still accepted after SIGTERM, and for a pool that is gone: gateways need time to
    /// notice that the replica reports not serving.
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    pub drain_delay: Duration,
    /// How long open requests may then take to end. Together they should stay below the time after which the
    /// process is killed: in Kubernetes, 30 s by default.
    #[arg(long, value_name = "DURATION", default_value = "24s", value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,
    /// How long other replicas' bookings count without a message from the owner; use the same value as the
    /// aggregators' --origin-ttl.
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    pub origin_ttl: Duration,
    /// The policy.
    #[command(flatten)]
    pub policy: PolicyFlags,
    /// Format of log lines: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Format of standard output: json prints one line with the listen addresses once ready.
    #[arg(long, value_name = "FORMAT")]
    pub output: Option<Output>,
    /// Flags of the Go EPP.
    #[command(flatten)]
    pub go_epp: GoEppFlags,
    /// Flags of the Go EPP that have no effect.
    #[command(flatten)]
    pub ignored_go_epp: IgnoredGoEppFlags,
}

/// What is printed on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line of JSON once ready.
    Json,
}

impl Flags {
    /// Returns the configuration that the flags describe, without the policy and tracing.
    ///
    /// # Errors
    /// The coordinator address is invalid, a TLS file is unusable, or an aggregator must not be reached
    /// without TLS.
    pub fn config(&self) -> anyhow::Result<EppConfig> {
        let security = Security::from_flags(&self.tls)?;
        self.aggregator.iter().try_for_each(|aggregator| security.check_peer_address(aggregator))?;
        let go_epp = &self.go_epp;
        let pool = || self.pool.clone().or_else(|| go_epp.pool(std::env::var("NAMESPACE").ok()));
        let received = go_epp.grpc_max_recv_msg_size.0;
        Ok(EppConfig {
            name: self.name.clone().unwrap_or_else(|| process_name("epp")),
            pools: if self.all_pools { FollowedPools::All } else { FollowedPools::One(pool()) },
            aggregators: self.aggregator.clone(),
            coordinator: self.coordinator.connect()?,
            lease_ttl: self.coordinator.lease_ttl(),
            security,
            serving: self.serving.serving()?,
            ext_proc: SocketAddr::new(self.bind, self.grpc_port),
            health: SocketAddr::new(self.bind, self.grpc_health_port),
            access_log: SocketAddr::new(self.bind, self.access_log_port),
            metrics: SocketAddr::new(self.bind, self.metrics_port),
            explain_access: match self.allow_remote_explain {
                true => ExplainAccess::Anyone,
                false => ExplainAccess::Loopback,
            },
            body_limit_bytes: self.body_limit,
            buffer_limit_bytes: self.buffer_limit,
            media_weights: self.media_tokens.unwrap_or_default().0,
            retry_after_s: self.retry_after,
            fallback_endpoints: self.fallback_endpoints.into(),
            received_message_limit_bytes: received.unwrap_or(EppConfig::message_limit_bytes(self.body_limit)),
            sent_message_limit_bytes: go_epp.grpc_max_send_msg_size.0.unwrap_or(usize::MAX),
            subset: match go_epp.disable_endpoint_subset_filter {
                true => SubsetHint::Ignored,
                false => SubsetHint::Honored,
            },
            scores: match go_epp.emit_endpoint_scores {
                true => EndpointScores::Emitted,
                false => EndpointScores::Hidden,
            },
            drain_delay: self.drain_delay,
            drain_timeout: self.drain_timeout,
            origin_ttl: self.origin_ttl,
            policy: Policy::default(),
            flow_control: FlowControl::default(),
            parsers: Parsers::default(),
            decision_history: self.decision_history as usize,
            tracing: None,
        })
    }
}
