//! Command-line flags for autoscalers.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use signalbox_kube::Cluster;
use signalbox_signal::SignalSettings;
use signalbox_tls::{FileError, ServerTls};

/// Which autoscalers are served (without a port: none), and how steady what they are told is.
#[derive(Args, Clone, Debug)]
pub struct AutoscalingFlags {
    /// Port at which KEDA asks how many model servers a pool needs, secured like --port; 0 selects a free port
    /// [default: none]
    #[arg(long, value_name = "PORT")]
    pub keda_port: Option<u16>,
    /// Port of custom.metrics.k8s.io, which the HorizontalPodAutoscaler reads through the API server; 0 selects a
    /// free port [default: none]
    #[arg(long, value_name = "PORT", requires = "metrics_api_cert_path")]
    pub metrics_api_port: Option<u16>,
    /// Folder with tls.crt and tls.key for --metrics-api-port, which the API server verifies; reloaded when they
    /// change
    #[arg(long, value_name = "FOLDER", requires = "metrics_api_port")]
    pub metrics_api_cert_path: Option<PathBuf>,
    /// Serve external.metrics.k8s.io at --metrics-api-port, too
    #[arg(long, requires = "metrics_api_port")]
    pub external_metrics: bool,
    /// For how long a lower number of model servers must be enough before it is asked for
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    pub scale_down_after: Duration,
    /// For how long no request may arrive, wait or run, for certain, before a pool needs no model server
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    pub scale_to_zero_after: Duration,
}

/// The autoscalers that are served.
#[derive(Clone, Debug, Default)]
pub struct AutoscalingConfig {
    /// Listen address for KEDA.
    pub keda: Option<SocketAddr>,
    /// How the metrics API is served.
    pub metrics_api: Option<MetricsApiConfig>,
}

/// How the metrics API is served.
#[derive(Clone, Debug)]
pub struct MetricsApiConfig {
    /// Listen address.
    pub listen: SocketAddr,
    /// The certificate.
    pub tls: ServerTls,
    /// Whether `external.metrics.k8s.io` is served, too.
    pub serves_external: bool,
    /// The cluster whose API server says who the clients are.
    pub cluster: Cluster,
}

impl AutoscalingFlags {
    pub(crate) fn serves_metrics_api(&self) -> bool {
        self.metrics_api_port.is_some()
    }

    pub(crate) fn signal(&self) -> SignalSettings {
        SignalSettings {
            down_window_ms: self.scale_down_after.as_millis() as u64,
            idle_retention_ms: self.scale_to_zero_after.as_millis() as u64,
        }
    }

    /// `cluster` is the cluster, if [`AutoscalingFlags::serves_metrics_api`].
    pub(crate) fn config(
        &self,
        bind: IpAddr,
        cluster: Option<&Cluster>,
    ) -> Result<AutoscalingConfig, FileError> {
        let metrics_api = match (self.metrics_api_port, &self.metrics_api_cert_path, cluster) {
            (Some(port), Some(folder), Some(cluster)) => Some(MetricsApiConfig {
                listen: SocketAddr::new(bind, port),
                tls: ServerTls::asking_for_certificates("--metrics-api-cert-path", folder)?,
                serves_external: self.external_metrics,
                cluster: cluster.clone(),
            }),
            _ => None,
        };
        Ok(AutoscalingConfig { keda: self.keda_port.map(|port| SocketAddr::new(bind, port)), metrics_api })
    }
}
