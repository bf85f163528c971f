//! The probes of a container.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::Value;
use signalbox_integration::{Client, Upload};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::node::launcher::Launcher;
use crate::node::pod_spec::ContainerSpec;

/// What probes have found out about a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Started,
    Ready,
    NotReady,
}

/// A container that is probed.
#[derive(Debug)]
pub(crate) struct Probed<'a> {
    pub(crate) container: &'a ContainerSpec,
    pub(crate) launcher: &'a Launcher,
    pub(crate) address: IpAddr,
}

impl Probed<'_> {
    /// Probes the container until it must be restarted, and reports findings. Returns why.
    pub(crate) async fn until_unhealthy(&self, mut report: impl FnMut(Finding)) -> String {
        if let Some(probe) = &self.container.startup
            && let Some(why) = self.until_changed(probe, false).await
        {
            return format!("startup probe failed: {why}");
        }
        report(Finding::Started);
        let readiness = async {
            let Some(probe) = &self.container.readiness else {
                report(Finding::Ready);
                return std::future::pending::<()>().await;
            };
            let mut is_ready = false;
            loop {
                self.until_changed(probe, is_ready).await;
                is_ready = !is_ready;
                report(if is_ready { Finding::Ready } else { Finding::NotReady });
            }
        };
        let liveness = async {
            match &self.container.liveness {
                Some(probe) => self.until_changed(probe, true).await.unwrap_or_default(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            why = liveness => format!("liveness probe failed: {why}"),
            () = readiness => String::new(),
        }
    }

    /// Repeats a probe until its verdict is no longer `verdict`. A probe that succeeded before fails with the error of its
    /// last attempt. A startup probe, whose verdict begins with failure, ends with an error too when it has failed
    /// too often; a readiness probe keeps trying.
    async fn until_changed(&self, probe: &Value, verdict: bool) -> Option<String> {
        let seconds = |field: &str, default| probe[field].as_u64().unwrap_or(default);
        let is_startup = self.container.startup.as_ref() == Some(probe);
        tokio::time::sleep(Duration::from_secs(seconds("initialDelaySeconds", 0))).await;
        let (mut successes, mut failures) = (0, 0);
        loop {
            let attempt = self.attempt(probe);
            let timeout = Duration::from_secs(seconds("timeoutSeconds", 1));
            let result =
                tokio::time::timeout(timeout, attempt).await.unwrap_or_else(|_| bail_timeout(timeout));
            match result {
                Ok(()) => (successes, failures) = (successes + 1, 0),
                Err(_) => (successes, failures) = (0, failures + 1),
            }
            if !verdict && successes >= seconds("successThreshold", 1) {
                return None;
            }
            if (verdict || is_startup) && failures >= seconds("failureThreshold", 3) {
                return Some(result.err().map_or_else(String::new, |error| format!("{error:#}")));
            }
            tokio::time::sleep(Duration::from_secs(seconds("periodSeconds", 10))).await;
        }
    }

    async fn attempt(&self, probe: &Value) -> anyhow::Result<()> {
        if let Some(port) = probe["grpc"]["port"].as_u64() {
            let address = SocketAddr::new(self.address, u16::try_from(port)?);
            return check_grpc(address, probe["grpc"]["service"].as_str().unwrap_or_default()).await;
        }
        if !probe["httpGet"].is_null() {
            return self.check_http(&probe["httpGet"]).await;
        }
        if !probe["tcpSocket"].is_null() {
            let address = SocketAddr::new(self.address, self.container.port(&probe["tcpSocket"]["port"])?);
            TcpStream::connect(address).await?;
            return Ok(());
        }
        let words =
            probe["exec"]["command"].as_array().with_context(|| format!("unsupported probe {probe}"))?;
        let words: Vec<String> = words.iter().filter_map(|word| Some(word.as_str()?.to_owned())).collect();
        let status = self.launcher.run(&words)?.wait().await?;
        ensure!(status.success(), "{} failed: {status}", words.join(" "));
        Ok(())
    }

    /// Sends a GET request as a probe or hook describes it.
    pub(crate) async fn check_http(&self, request: &Value) -> anyhow::Result<()> {
        ensure!(request["scheme"].as_str().unwrap_or("HTTP") == "HTTP", "probes by HTTPS are not supported");
        let address = SocketAddr::new(self.address, self.container.port(&request["port"])?);
        let url = format!("http://{address}{}", request["path"].as_str().unwrap_or("/"));
        let headers = request["httpHeaders"].as_array().into_iter().flatten();
        let headers: Vec<(&str, &str)> = headers
            .filter_map(|header| Some((header["name"].as_str()?, header["value"].as_str()?)))
            .collect();
        // As the kubelet does: a connection of its own, which shows whether the container still accepts one.
        let sent =
            Client::new().send_with(Method::GET, &url, &headers, (Bytes::new(), Upload::Whole)).await?;
        ensure!(sent.status.is_success() || sent.status.is_redirection(), "{url}: {}", sent.status);
        Ok(())
    }
}

fn bail_timeout(timeout: Duration) -> anyhow::Result<()> {
    bail!("no answer within {} s", timeout.as_secs())
}

async fn check_grpc(address: SocketAddr, service: &str) -> anyhow::Result<()> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let request = HealthCheckRequest { service: service.to_owned() };
    let status = HealthClient::new(channel).check(request).await?.into_inner().status();
    ensure!(status == ServingStatus::Serving, "{service:?} is {status:?}");
    Ok(())
}
