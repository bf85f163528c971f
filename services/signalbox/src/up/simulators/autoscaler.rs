//! Starts and stops simulators as the pool needs them: asks an aggregator for the number of replicas, as KEDA does.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use signalbox_epp::Epp;
use signalbox_modelsim::Fleet;
use signalbox_protos::keda::externalscaler::external_scaler_client::ExternalScalerClient;
use signalbox_protos::keda::externalscaler::{GetMetricsRequest, ScaledObjectRef};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::scaling::{Effect, Running, Scaling};
use super::{Scale, Simulators, pool, pool_id};
use crate::up::args::UpArgs;

/// How often the aggregator is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long connections to a simulator that has drained have to close.
const STOP_GRACE: Duration = Duration::from_secs(5);

impl Simulators {
    /// Keeps as many simulators as the aggregator says that listens for KEDA at `scaler`, within the bounds of the flags,
    /// until the future is dropped. `epps` are all replicas: they know when a simulator has drained.
    pub(in crate::up) async fn autoscale(&self, args: &UpArgs, epps: &[Epp], scaler: SocketAddr) {
        let endpoint =
            Endpoint::from_shared(format!("http://{scaler}")).expect("a socket address makes a URI");
        let mut scaler = ExternalScalerClient::new(endpoint.connect_lazy());
        let mut scaling = Scaling::new(args.simulators, args.simulator_start_delay);
        let mut ticks = interval(INTERVAL);
        // Two steps in a row must be a second apart.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let desired = desired(&mut scaler).await;
            self.step(&mut scaling, desired, epps).await;
        }
    }

    async fn step(&self, scaling: &mut Scaling, desired: Option<u32>, epps: &[Epp]) {
        let mut fleet = self.fleet.lock().await;
        for effect in scaling.step(Instant::now(), desired, &running(&fleet, epps)) {
            match effect {
                Effect::Start => {
                    if let Err(error) = fleet.add().await {
                        tracing::warn!(%error, "cannot start a simulator; trying again");
                    }
                }
                Effect::Stop(name) => {
                    if let Some(server) = fleet.take(&name) {
                        tokio::spawn(server.stop(STOP_GRACE));
                    }
                }
            }
        }
        self.publish(&fleet, scaling);
    }

    /// Tells the aggregators which simulators there are and which drain, and the summary how many.
    fn publish(&self, fleet: &Fleet, scaling: &Scaling) {
        let pool = pool(fleet, |name| scaling.is_draining(name));
        self.pools.send_if_modified(|last| std::mem::replace(last, pool.clone()) != pool);
        let draining = fleet.servers().filter(|server| scaling.is_draining(server.name())).count();
        let ready = fleet.servers().len() - draining;
        let (wanted, starting) = (scaling.wanted(), scaling.starting());
        let scale = Scale { wanted, ready, starting, draining };
        if self.scale.send_if_modified(|last| std::mem::replace(last, scale) != scale) {
            tracing::info!(wanted, ready, starting, draining, "the number of simulators changes");
        }
    }
}

fn running(fleet: &Fleet, epps: &[Epp]) -> Vec<Running> {
    let views: Vec<_> = epps.iter().map(Epp::endpoints).collect();
    // A replica that does not know a simulator yet may still hear of it.
    let is_drained = |name: &str| {
        views.iter().all(|view| {
            let member = view.iter().find(|(member, _)| member.spec.name == name);
            member.is_some_and(|(member, load)| member.spec.is_draining && load.requests == 0)
        })
    };
    let names = fleet.servers().map(|server| server.name().to_owned());
    names.map(|name| Running { is_drained: is_drained(&name), name }).collect()
}

/// Asks how many replicas there should be; `None` if that is not known.
async fn desired(scaler: &mut ExternalScalerClient<Channel>) -> Option<u32> {
    let pool = pool_id();
    let trigger = ScaledObjectRef {
        scaler_metadata: HashMap::from([("inferencePool".to_owned(), pool.name.clone())]),
        name: pool.name,
        namespace: pool.namespace,
    };
    let request = GetMetricsRequest { scaled_object_ref: Some(trigger), ..GetMetricsRequest::default() };
    let answer = timeout(ANSWER_TIMEOUT, scaler.get_metrics(request)).await;
    let answer = answer.unwrap_or_else(|_| Err(Status::new(Code::DeadlineExceeded, "no answer in time")));
    match answer {
        Ok(response) => {
            let values = response.into_inner().metric_values;
            values.first().and_then(|value| u32::try_from(value.metric_value).ok())
        }
        Err(status) => {
            tracing::debug!(%status, "it is not known how many simulators there should be; keeping them");
            None
        }
    }
}
