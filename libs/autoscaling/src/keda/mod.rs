//! The service that KEDA calls an external scaler.
//!
//! KEDA asks for a value and for whether the workload is active one after the other, maybe at different aggregators, and
//! takes a value that is no number for 0. So a value that is not known is an error here, and KEDA's autoscaler keeps the
//! replicas.

mod activation;
mod trigger;

use std::future::Future;
use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use signalbox_protos::keda::externalscaler::external_scaler_server::{ExternalScaler, ExternalScalerServer};
use signalbox_protos::keda::externalscaler::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec, MetricValue,
    ScaledObjectRef,
};
use signalbox_tls::{Connection, PeerCertificate, PeerRole, PermitLimits, Security, begun_within, bounded};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use self::activation::Activation;
use self::trigger::Trigger;
use crate::query::{NoNumber, number};
use crate::signals::{Latest, SignalChanges, Signals};

/// Who may ask.
const CLIENTS: &[PeerRole] = &[PeerRole::Autoscaler];

/// How many connections there may be. KEDA has a few.
const CONNECTIONS: PermitLimits = PermitLimits { total: 512, per_address: 64 };

/// Answers on a stream that can queue until KEDA reads them.
const MAX_QUEUED: usize = 1;

/// For how long clients are waited for.
const PATIENCE: Patience = Patience {
    begin: Duration::from_secs(5),
    ping_after: Duration::from_secs(20),
    answer: Duration::from_secs(10),
};

/// For how long clients are waited for.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Until they begin with HTTP/2.
    begin: Duration,
    /// While they are silent, until they are pinged. One that is in the middle of a header cannot answer: it must send all of
    /// it, and then the answer. This also ends the streams of a KEDA that is gone.
    ping_after: Duration,
    /// Until they answer that.
    answer: Duration,
}

/// The service. Clones share what it knows.
#[derive(Clone, Debug)]
pub struct Keda<S> {
    signals: S,
    security: Security,
    stopping: watch::Sender<bool>,
}

type Stream<T> = ReceiverStream<Result<T, Status>>;
type Sender<T> = mpsc::Sender<Result<T, Status>>;

impl<S: Signals> Keda<S> {
    /// Answers clients that `security` allows, out of `signals`.
    pub fn new(signals: S, security: Security) -> Self {
        Self { signals, security, stopping: watch::Sender::new(false) }
    }

    /// Serves the connections until `stopped`. Streams end then without an error, so that KEDA opens them elsewhere at once.
    pub async fn serve(
        self,
        incoming: ReceiverStream<io::Result<Connection>>,
        stopped: impl Future<Output = ()>,
    ) {
        self.serve_with(PATIENCE, incoming, stopped).await;
    }

    async fn serve_with(
        self,
        patience: Patience,
        incoming: ReceiverStream<io::Result<Connection>>,
        stopped: impl Future<Output = ()>,
    ) {
        let stopping = self.stopping.clone();
        let until_stopped = async move {
            stopped.await;
            stopping.send_replace(true);
        };
        let incoming = begun_within(patience.begin, bounded(incoming, CONNECTIONS));
        let served = Server::builder()
            .http2_keepalive_interval(Some(patience.ping_after))
            .http2_keepalive_timeout(Some(patience.answer))
            .add_service(ExternalScalerServer::new(self))
            .serve_with_incoming_shutdown(incoming, until_stopped);
        if let Err(error) = served.await {
            tracing::error!(%error, "the server for KEDA failed");
        }
    }

    /// Opens a stream, which `fill` fills until it returns or the server stops.
    fn stream<M, F>(&self, fill: impl FnOnce(Sender<M>) -> F) -> Response<Stream<M>>
    where
        M: Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(MAX_QUEUED);
        let (filled, mut stopping) = (fill(sender), self.stopping.subscribe());
        tokio::spawn(async move {
            tokio::select! {
                () = filled => {}
                // This fails if the server is gone.
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        });
        Response::new(ReceiverStream::new(receiver))
    }

    fn trigger(&self, object: Option<&ScaledObjectRef>) -> Result<Trigger, Status> {
        let object = object.ok_or_else(|| Status::invalid_argument("scaledObjectRef is missing"))?;
        Trigger::read(object, &self.signals)
    }

    fn authorize<M>(&self, request: Request<M>) -> Result<M, Status> {
        let certificate = request.extensions().get::<PeerCertificate>().cloned().unwrap_or_default();
        let authorized = self.security.authorize(&certificate, CLIENTS);
        authorized.map_err(|error| Status::permission_denied(error.to_string()))?;
        Ok(request.into_inner())
    }

    fn latest(&self, trigger: &Trigger) -> Result<Latest, Status> {
        self.signals.latest(&trigger.pool).ok_or_else(|| gone(trigger))
    }

    fn changes(&self, trigger: &Trigger) -> Result<SignalChanges, Status> {
        self.signals.changes(&trigger.pool).ok_or_else(|| gone(trigger))
    }
}

#[tonic::async_trait]
impl<S: Signals> ExternalScaler for Keda<S> {
    type StreamIsActiveStream = Stream<IsActiveResponse>;
    type StreamMetricSpecStream = Stream<GetMetricSpecResponse>;

    async fn is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<IsActiveResponse>, Status> {
        let trigger = self.trigger(Some(&self.authorize(request)?))?;
        let latest = self.latest(&trigger)?;
        let signal = latest.usable().map_err(|why| no_number(&trigger, &why.into()))?;
        Ok(Response::new(IsActiveResponse { result: signal.is_active || signal.awaits_first_pod }))
    }

    async fn get_metrics(
        &self,
        request: Request<GetMetricsRequest>,
    ) -> Result<Response<GetMetricsResponse>, Status> {
        let trigger = self.trigger(self.authorize(request)?.scaled_object_ref.as_ref())?;
        let milli = number(&self.latest(&trigger)?, trigger.metric, |group| trigger.selects(group))
            .map_err(|why| no_number(&trigger, &why))?;
        let value = MetricValue {
            metric_name: trigger.metric.name().to_owned(),
            metric_value: milli.div_ceil(1000) as i64,
            metric_value_float: milli as f64 / 1000.0,
        };
        Ok(Response::new(GetMetricsResponse { metric_values: vec![value] }))
    }

    async fn get_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        let trigger = self.trigger(Some(&self.authorize(request)?))?;
        Ok(Response::new(spec(&trigger)))
    }

    async fn stream_is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        let trigger = self.trigger(Some(&self.authorize(request)?))?;
        let (changes, signals) = (self.changes(&trigger)?, self.signals.clone());
        Ok(self.stream(|sender| push(signals, trigger, changes, sender)))
    }

    async fn stream_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamMetricSpecStream>, Status> {
        let trigger = self.trigger(Some(&self.authorize(request)?))?;
        let changes = self.changes(&trigger)?;
        Ok(self.stream(|sender| keep_spec(trigger, changes, sender)))
    }
}

/// Says what a trigger measures, which never changes, and keeps the stream open for as long as the pool is there.
async fn keep_spec(trigger: Trigger, mut changes: SignalChanges, sender: Sender<GetMetricSpecResponse>) {
    if sender.send(Ok(spec(&trigger))).await.is_err() {
        return;
    }
    let is_gone = async { while changes.next().await.is_some() {} };
    tokio::select! {
        () = is_gone => drop(sender.send(Err(gone(&trigger))).await),
        () = sender.closed() => {}
    }
}

/// Tells KEDA when the workload should have replicas, until the pool or KEDA is gone.
async fn push(
    signals: impl Signals,
    trigger: Trigger,
    mut changes: SignalChanges,
    sender: Sender<IsActiveResponse>,
) {
    let (mut activation, opened) = (Activation::default(), Instant::now());
    loop {
        let repeat_at = activation.repeat_at().map(|at| opened + at);
        let is_there = tokio::select! {
            change = changes.next() => change.is_some(),
            () = sleep_until(repeat_at.unwrap_or(opened)), if repeat_at.is_some() => true,
            () = sender.closed() => return,
        };
        let Some(latest) = signals.latest(&trigger.pool).filter(|_| is_there) else {
            // This fails if KEDA is gone, too.
            let _ = sender.send(Err(gone(&trigger))).await;
            return;
        };
        if let Some(result) = activation.step(opened.elapsed(), latest.usable().ok())
            && sender.send(Ok(IsActiveResponse { result })).await.is_err()
        {
            return;
        }
    }
}

fn spec(trigger: &Trigger) -> GetMetricSpecResponse {
    let spec = MetricSpec {
        metric_name: trigger.metric.name().to_owned(),
        target_size: trigger.target.ceil() as i64,
        target_size_float: trigger.target,
    };
    GetMetricSpecResponse { metric_specs: vec![spec] }
}

fn no_number(trigger: &Trigger, why: &NoNumber) -> Status {
    let text = format!("pool {}: {why}", trigger.pool);
    match why {
        NoNumber::Ambiguous(_) => Status::failed_precondition(text),
        NoNumber::Unavailable(_) => Status::unavailable(text),
    }
}

fn gone(trigger: &Trigger) -> Status {
    Status::not_found(format!("the pool {} is gone", trigger.pool))
}

#[cfg(test)]
mod tests;
