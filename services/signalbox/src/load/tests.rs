//! Tests of `signalbox load` against a small model server, over real sockets.

use std::convert::Infallible;
use std::future::{pending, ready};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use clap::Parser;
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use signalbox_tls::{ServerTls, TlsParameters};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_stream::StreamExt;

use super::LoadArgs;
use super::results::report::Report;
use super::run::execute;

const USAGE: &str =
    r#""usage":{"prompt_tokens":100,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":25}}"#;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    load: LoadArgs,
}

/// How the server handles requests.
#[derive(Clone, Copy)]
enum ServerBehavior {
    Serve,
    /// Serve, and check that requests name an adapter.
    ServeAdapters,
    /// Reject every second request with status 503.
    RejectHalf,
    /// Refuse the requests of the objective `sheddable`, as a full pool does.
    Shed,
    /// End the stream without its last event.
    EndEarly,
    /// Serve the first request and never answer the others.
    Stall,
}

struct Server {
    behavior: ServerBehavior,
    received: AtomicUsize,
    stalled: Notify,
}

async fn server(behavior: ServerBehavior) -> (SocketAddr, Arc<Server>) {
    serve(behavior, ServerTls::Plaintext).await
}

async fn serve(behavior: ServerBehavior, tls: ServerTls) -> (SocketAddr, Arc<Server>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Arc::new(Server { behavior, received: AtomicUsize::new(0), stalled: Notify::new() });
    let shared = Arc::clone(&server);
    let mut incoming = tls.incoming(listener);
    tokio::spawn(async move {
        while let Some(connection) = incoming.next().await {
            let Ok(socket) = connection else { continue };
            let server = Arc::clone(&server);
            let service = service_fn(move |request| respond(Arc::clone(&server), request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    (address, shared)
}

type ServerResponse = Result<Response<BoxBody<Bytes, Infallible>>, Infallible>;

async fn respond(server: Arc<Server>, request: Request<Incoming>) -> ServerResponse {
    let complete = |text: String| Full::new(Bytes::from(text)).boxed();
    if request.uri().path() == "/v1/models" {
        return Ok(Response::new(complete(r#"{"data":[{"id":"the-model"}]}"#.into())));
    }
    let headers = request.headers().clone();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    match server.behavior {
        ServerBehavior::ServeAdapters => assert!(body["model"].as_str().unwrap().starts_with("adapter-")),
        _ => assert_eq!(body["model"], "the-model"),
    }
    let number = server.received.fetch_add(1, Ordering::Relaxed);
    match server.behavior {
        ServerBehavior::RejectHalf if number % 2 == 1 => {
            let mut rejection = Response::new(complete("no".into()));
            *rejection.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return Ok(rejection);
        }
        ServerBehavior::Shed if headers["x-llm-d-inference-objective"] == "sheddable" => {
            let rejection = Response::builder().status(StatusCode::TOO_MANY_REQUESTS);
            let rejection = rejection.header("x-llm-d-request-dropped-reason", "rejected-saturated");
            return Ok(rejection.body(complete("no".into())).unwrap());
        }
        ServerBehavior::Stall if number > 0 => {
            server.stalled.notify_one();
            pending::<()>().await;
        }
        _ => {}
    }
    let text = match (body["stream"] == true, server.behavior) {
        (false, _) => {
            return Ok(Response::new(complete(format!(r#"{{"choices":[{{"text":"x"}}],{USAGE}}}"#))));
        }
        (true, ServerBehavior::EndEarly) => {
            "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n".to_owned()
        }
        (true, _) => format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"x\"}}}}]}}\r\n\r\n\
             data: {{\"choices\":[],{USAGE}}}\n\ndata: [DONE]\n\n"
        ),
    };
    // Chunk boundaries are independent of events.
    let chunks: Vec<_> =
        text.as_bytes().chunks(7).map(Bytes::copy_from_slice).map(Frame::data).map(Ok).collect();
    let pod = format!("pod-{}", number % 2);
    let body = StreamBody::new(stream::iter(chunks)).boxed();
    Ok(Response::builder().header("x-signalbox-pod", pod).body(body).unwrap())
}

async fn load(address: SocketAddr, flags: &[&str]) -> Report {
    let target = format!("http://{address}");
    let small = ["--shared-tokens", "20", "--question-tokens", "5"];
    let line = ["load", "--to", &target].into_iter().chain(small).chain(flags.iter().copied());
    let plan = Cli::parse_from(line).load.plan().unwrap();
    execute(plan, pending()).await.unwrap()
}

#[tokio::test]
async fn streams_are_measured() {
    let (address, _) = server(ServerBehavior::Serve).await;
    for flags in [
        &["--requests", "40"][..],
        &["--requests", "40", "--rate", "5000"],
        &["--requests", "40", "--profile", "burst", "--wave", "10", "--wave-pause-ms", "1"],
    ] {
        let report = load(address, flags).await;
        assert_eq!((report.requests, report.errors.total, report.interrupted), (40, 0, false));
        assert_eq!(report.model, "the-model");
        assert_eq!(report.cached_token_share, Some(0.25));
        assert_eq!(report.completion_tokens, 80);
        assert_eq!(report.spread.endpoints.values().copied().collect::<Vec<_>>(), [20, 20]);
        let (ttft, latency) = (report.ttft_ms.unwrap(), report.latency_ms.unwrap());
        assert!(ttft.p50 > 0.0 && ttft.mean <= latency.mean);
        let rates =
            [report.output_tokens_per_second.unwrap() / 2.0, report.total_tokens_per_second.unwrap() / 102.0];
        assert!(rates.iter().all(|rate| (rate / report.requests_per_second - 1.0).abs() < 1e-9), "{rates:?}");
    }
}

#[tokio::test]
async fn a_trace_is_replayed_to_adapters() {
    let (address, server) = server(ServerBehavior::ServeAdapters).await;
    let line = |at_ms: u64| {
        format!(r#"{{"timestamp": {at_ms}, "input_length": 9, "output_length": 2, "hash_ids": [0]}}"#)
    };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for at_ms in [0, 0, 500, 900_000] {
        writeln!(file, "{}", line(at_ms)).unwrap();
    }
    let (target, path) = (format!("http://{address}"), file.path().to_str().unwrap());
    let trace = ["--trace", path, "--speed", "100", "--requests", "3", "--lora-zipf", "5"];
    let line = ["load", "--to", &target].into_iter().chain(trace);
    let report = execute(Cli::parse_from(line).load.plan().unwrap(), pending()).await.unwrap();
    assert_eq!((report.requests, report.errors.total, report.profile), (3, 0, "trace"));
    assert_eq!(report.model, "adapter-0 to adapter-4");
    assert_eq!(server.received.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn responses_that_are_not_streamed_have_no_time_to_first_token() {
    let (address, _) = server(ServerBehavior::Serve).await;
    let report = load(address, &["--no-stream", "--api", "completions", "--profile", "unique"]).await;
    assert_eq!((report.requests, report.errors.total, report.spread.unknown), (100, 0, 100));
    assert!(report.ttft_ms.is_none());
    assert_eq!(report.cached_token_share, Some(0.25));
}

#[tokio::test]
async fn failures_are_counted_by_kind() {
    let (address, _) = server(ServerBehavior::RejectHalf).await;
    let report = load(address, &["--requests", "10"]).await;
    assert_eq!((report.requests, report.errors.by_kind["status 503"]), (10, 5));
    let (address, _) = server(ServerBehavior::EndEarly).await;
    let report = load(address, &["--requests", "3"]).await;
    assert_eq!(report.errors.by_kind["stream ended early"], 3);
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let report = load(unused, &["--requests", "3"]).await;
    assert_eq!((report.model.as_str(), report.errors.by_kind["cannot connect"]), ("llama3-8b", 3));
}

#[tokio::test]
async fn an_interrupted_run_reports_its_results_so_far() {
    let (address, server) = server(ServerBehavior::Stall).await;
    let target = format!("http://{address}");
    let line = ["load", "--to", &target, "--concurrency", "1"];
    let plan = Cli::parse_from(line).load.plan().unwrap();
    let stalled = async {
        server.stalled.notified().await;
        Ok(())
    };
    let report = execute(plan, stalled).await.unwrap();
    assert_eq!((report.requests, report.interrupted), (1, true));
    let plan = Cli::parse_from(line).load.plan().unwrap();
    assert!(execute(plan, ready(Ok(()))).await.unwrap().interrupted);
}

#[tokio::test]
async fn tiers_report_what_the_pool_refused() {
    let (address, _) = server(ServerBehavior::Shed).await;
    let flags = ["--profile", "tiers", "--tenants", "2", "--requests", "40", "--rate", "5000"];
    let report = load(address, &flags).await;
    assert_eq!((40, 14, 14), (report.requests, report.errors.total, report.errors.shed));
    assert!(report.all_served());
    let [critical, standard, sheddable] = report.tiers.try_into().unwrap();
    assert_eq!((12, Some(0.0), Some(1.0)), (critical.served, critical.shed_share, critical.fairness));
    assert_eq!((14, 0), (standard.served, standard.shed));
    assert_eq!((14, Some(1.0), None), (sheddable.shed, sheddable.shed_share, sheddable.fairness));
    assert_eq!(14, sheddable.shed_by_reason["status 429 rejected-saturated"]);
}

#[tokio::test]
async fn requests_of_the_warmup_are_sent_but_not_measured() {
    let (address, server) = server(ServerBehavior::Serve).await;
    let flags = ["--rate", "400", "--warmup", "250ms", "--duration", "250ms"];
    let report = load(address, &flags).await;
    let received = server.received.load(Ordering::Relaxed) as u64;
    assert!(report.requests > 0 && report.requests < received, "{} of {received}", report.requests);
    assert_eq!(0, report.errors.total);
}

#[tokio::test]
async fn endpoint_is_named_by_the_header_that_the_flag_names() {
    let (address, _) = server(ServerBehavior::Serve).await;
    let report = load(address, &["--requests", "4", "--endpoint-header", "x-other"]).await;
    assert_eq!((4, None), (report.spread.unknown, report.spread.max_over_mean));
    let report = load(address, &["--requests", "4", "--endpoint-header", "x-signalbox-pod"]).await;
    assert_eq!((0, 2), (report.spread.unknown, report.spread.endpoints.len()));
}

/// Writes a self-signed certificate for this host and its key as a Secret of type `kubernetes.io/tls` has them.
fn certificate() -> tempfile::TempDir {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tls.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(folder.path().join("tls.key"), key.serialize_pem()).unwrap();
    folder
}

#[tokio::test]
async fn certificate_of_https_must_be_trusted() {
    let (own, other) = (certificate(), certificate());
    let tls = ServerTls::from_directory(own.path(), TlsParameters::default()).unwrap();
    let (address, _) = serve(ServerBehavior::Serve, tls).await;
    let errors = async |flags: &[&str]| {
        let target = format!("https://{address}");
        let line = ["load", "--to", &target, "--requests", "3", "--model", "the-model"];
        let plan = Cli::parse_from(line.iter().chain(flags)).load.plan().unwrap();
        execute(plan, pending()).await.unwrap().errors.by_kind
    };
    let file = |folder: &tempfile::TempDir| folder.path().join("tls.crt").to_str().unwrap().to_owned();
    assert!(errors(&["--ca", &file(&own)]).await.is_empty());
    assert!(errors(&["--insecure"]).await.is_empty());
    assert_eq!(3, errors(&["--ca", &file(&other)]).await["cannot connect"]);
}
