//! Wiring: from a configuration to a running replica.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use ractor::{Actor, ActorRef};
use signalbox_extproc::Buffers;
use signalbox_lease::{Member, Role, Session, aggregators};
use signalbox_peers::Subject;
use signalbox_state::EndpointState as EndpointObserver;
use signalbox_telemetry::{AdminServer, ListenError, TraceError, Tracer, listen};
use signalbox_types::Version;
use signalbox_wire::Hello;
use thiserror::Error;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::actors::{Root, RootMessage, RootSetup};
use crate::config::EppConfig;
use crate::decisions;
use crate::explain::{self, Explainer};
use crate::health::{Standing, Watchers};
use crate::metrics::{Levels, Metrics, PoolLevels, Requests};
use crate::picker::Picker;
use crate::records::Records;
use crate::serve::{ExtProc, MessageLimits, serve_access_log, serve_gateways, serve_probes};
use crate::trace::Tracing;

/// How long actors may take to stop.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// Why a replica cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A port cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Spans cannot be sent.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The actors cannot start.
    #[error("the actors cannot start: {0}")]
    Actors(String),
    /// A listener broke at once.
    #[error("a port cannot be served")]
    Serve(#[from] std::io::Error),
}

/// By which flags the ports are chosen, for messages.
#[derive(Clone, Copy, Debug)]
pub struct PortFlags {
    /// The port for gateways.
    pub ext_proc: &'static str,
    /// The port for health checks.
    pub health: &'static str,
    /// The port for access logs.
    pub access_log: &'static str,
    /// The metrics port.
    pub metrics: &'static str,
}

/// What a replica has done so far, for a summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests for which it picked an endpoint.
    pub decisions: u64,
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
    /// Tokens of those that the picked endpoint held.
    pub matched_tokens: u64,
}

/// How well a replica sees the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// The version of its view; `None` before the first.
    pub version: Option<Version>,
    /// Since an owner confirmed it.
    pub age: Duration,
    /// Whether decisions go by what this replica alone knows.
    pub is_degraded: bool,
}

/// A running EPP replica.
#[derive(Debug)]
pub struct Epp {
    picker: Arc<Picker>,
    ext_proc: SocketAddr,
    health: SocketAddr,
    access_log: SocketAddr,
    admin: AdminServer,
    root: ActorRef<RootMessage>,
    session: Option<Session>,
    ready: watch::Receiver<bool>,
    draining: watch::Sender<bool>,
    servers: [JoinHandle<()>; 3],
    drain_timeout: Duration,
}

impl Epp {
    /// Starts a replica. It listens at once, and is ready when it has a view; see [`Epp::ready`].
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: EppConfig, flags: PortFlags) -> Result<Self, StartError> {
        let ext_proc = listen(config.ext_proc, flags.ext_proc).await?;
        let health = listen(config.health, flags.health).await?;
        let access_log = listen(config.access_log, flags.access_log).await?;
        let admin = listen(config.metrics, flags.metrics).await?;
        let (ext_proc_address, health_address) = (ext_proc.local_addr()?, health.local_addr()?);
        let access_log_address = access_log.local_addr()?;
        let mut page = Registry::default();
        let requests = Requests::register(&mut page);
        let shown = page.sub_registry_with_prefix("signalbox_epp");
        let tracing = match config.tracing {
            Some(settings) => Some(Tracing::start(Tracer::start(settings, "signalbox", shown)?)),
            None => None,
        };
        let records = Records::new(config.decisions, tracing);
        let metrics = Metrics::register(shown, requests);
        let conversations = signalbox_extproc::Config {
            body_limit_bytes: config.body_limit_bytes,
            buffers: Buffers::new(config.buffer_limit_bytes),
            retry_after_s: config.retry_after_s,
            subset: config.subset,
            parsers: Arc::new(config.parsers),
            ..signalbox_extproc::Config::default()
        };
        let (picker, outgoing, ends) = Picker::new(
            &config.name,
            config.policy,
            (conversations, config.fallback_endpoints, config.scores),
            config.origin_ttl,
            metrics,
            records,
        );
        let picker = Arc::new(picker);
        let shown = page.sub_registry_with_prefix("signalbox_epp");
        shown.register_collector(Box::new(Levels(Arc::clone(&picker))));
        let hello = Hello { pool: config.pool, name: config.name };
        let subject = Arc::new(Subject::of(&hello));
        page.register_collector(Box::new(PoolLevels {
            picker: Arc::clone(&picker),
            subject: Arc::clone(&subject),
        }));
        let (ready, is_ready) = watch::channel(false);
        let (outgoing, ends) = (Arc::new(Mutex::new(outgoing)), Arc::new(Mutex::new(ends)));
        let session = config.coordinator.as_ref().map(|coordinator| {
            let member = Member { role: Role::Epp, name: hello.name.clone(), address: None };
            coordinator.join(member, config.lease_ttl)
        });
        let peers = signalbox_peers::Settings {
            hello,
            subject,
            aggregators: aggregators(config.aggregators, config.coordinator.as_ref(), None),
            security: config.security,
        };
        let setup = RootSetup { picker: Arc::clone(&picker), peers, outgoing, ends, ready: Arc::new(ready) };
        let (root, _) =
            Actor::spawn(None, Root, setup).await.map_err(|error| StartError::Actors(error.to_string()))?;
        let explainer = Explainer { picker: Arc::clone(&picker), to: config.explain_to };
        let more =
            decisions::routes(explainer.clone()).merge(explain::routes(explainer, config.body_limit_bytes));
        let admin = AdminServer::start(admin, Arc::new(page), more)?;
        let (draining, is_draining) = watch::channel(false);
        let service = ExtProc { picker: Arc::clone(&picker) };
        let limits = MessageLimits {
            received_bytes: config.received_message_limit_bytes,
            sent_bytes: config.sent_message_limit_bytes,
        };
        let standing = Standing { ready: is_ready.clone(), draining: is_draining, watchers: Watchers::Stay };
        let gateways = serve_gateways(ext_proc, config.serving, service, limits, standing.clone());
        let probes = serve_probes(health, standing);
        let log = serve_access_log(access_log, Arc::clone(&picker));
        Ok(Self {
            picker,
            ext_proc: ext_proc_address,
            health: health_address,
            access_log: access_log_address,
            admin,
            root,
            session,
            ready: is_ready,
            draining,
            servers: [gateways, probes, log],
            drain_timeout: config.drain_timeout,
        })
    }

    /// Where gateways connect.
    pub fn ext_proc_address(&self) -> SocketAddr {
        self.ext_proc
    }

    /// Where health is asked for.
    pub fn health_address(&self) -> SocketAddr {
        self.health
    }

    /// Where gateways send their access logs.
    pub fn access_log_address(&self) -> SocketAddr {
        self.access_log
    }

    /// Where Prometheus reads.
    pub fn metrics_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Ends when the replica has a view.
    pub async fn ready(&self) {
        let _ = self.ready.clone().wait_for(|ready| *ready).await;
    }

    /// The endpoints as it sees them.
    pub fn endpoints(&self) -> Vec<Arc<EndpointObserver>> {
        self.picker.snapshot.load().view.endpoints.to_vec()
    }

    /// What it sees: the version of its view, how old that is, and whether no owner of the pool is heard.
    pub fn outlook(&self) -> Outlook {
        let snapshot = self.picker.snapshot.load();
        let age = Duration::from_millis(snapshot.view.age_ms(self.picker.now_ms()));
        Outlook { version: snapshot.view.version, age, is_degraded: self.picker.is_degraded() }
    }

    /// What it has done so far.
    pub fn tally(&self) -> Tally {
        let (prompt_tokens, matched_tokens) = self.picker.metrics.tokens();
        Tally { decisions: self.picker.metrics.decisions(), prompt_tokens, matched_tokens }
    }

    /// Takes nothing new, lets requests end within the drain timeout, and ends.
    pub async fn stop(self) {
        self.draining.send_replace(true);
        let [ext_proc, health, access_log] = self.servers;
        let mut ext_proc = ext_proc;
        if tokio::time::timeout(self.drain_timeout, &mut ext_proc).await.is_err() {
            tracing::warn!(timeout = ?self.drain_timeout, "requests are cut that did not end in time");
            ext_proc.abort();
        }
        health.abort();
        // Its streams have no end of their own.
        access_log.abort();
        if let Some(session) = &self.session {
            session.leave().await;
        }
        self.admin.stop();
        self.picker.records.stop().await;
        let _ = self.root.stop_and_wait(None, Some(STOP_GRACE)).await;
    }
}
