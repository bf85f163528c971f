//! `signalbox explain`: which endpoint a request would go to, and why.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

/// How long the EPP may take to answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// Ask a running EPP where a request would go, and why; nothing is booked
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// The request's body, as it would be sent
    #[arg(value_name = "FILE")]
    request: PathBuf,
    /// The EPP's metrics address
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9090")]
    epp: String,
    /// The path that the request would have [default: that of the API which the body looks like]
    #[arg(long)]
    path: Option<String>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table.
    Text,
    /// The EPP's answer as it is.
    Json,
}

/// What is shown of the EPP's answer.
#[derive(Debug, Deserialize)]
struct Explanation {
    version: Option<String>,
    view_age_ms: u64,
    why: String,
    request: Asked,
    candidates: Vec<Candidate>,
}

#[derive(Debug, Deserialize)]
struct Asked {
    model: String,
    prompt_tokens: u64,
}

#[derive(Debug, Deserialize)]
struct Candidate {
    endpoint: String,
    address: String,
    tier: String,
    cached_tokens: u64,
    requests: u64,
    wait_us: u64,
    prefill_us: u64,
    decode_us: u64,
    total_us: u64,
}

/// Asks and prints.
///
/// # Errors
/// When the file cannot be read, or the EPP does not answer or refuses.
pub(crate) async fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let name = args.request.display();
    let body = tokio::fs::read(&args.request).await.with_context(|| format!("cannot read {name}"))?;
    let answer = tokio::time::timeout(DEADLINE, ask(&args, body.into()))
        .await
        .with_context(|| format!("{} does not answer", args.epp))??;
    let mut out = stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", String::from_utf8_lossy(&answer))?,
        Output::Text => {
            let explanation: Explanation =
                serde_json::from_slice(&answer).context("the EPP's answer is not of this version")?;
            write!(out, "{}", table(&explanation))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(args: &ExplainArgs, body: Bytes) -> anyhow::Result<Bytes> {
    let epp = &args.epp;
    let mend = || format!("no EPP answers at {epp}; give its metrics address with --epp");
    let stream = TcpStream::connect(epp.as_str()).await.with_context(mend)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.with_context(mend)?;
    tokio::spawn(connection);
    let query = args.path.as_ref().map_or(String::new(), |path| format!("?path={path}"));
    let uri: Uri = format!("/explain{query}").parse().context("--path is no path")?;
    let request = Request::post(uri).header(header::HOST, epp.as_str()).body(Full::new(body))?;
    let response = sender.send_request(request).await.with_context(mend)?;
    let status = response.status();
    let answer = response.into_body().collect().await.with_context(mend)?.to_bytes();
    if status != StatusCode::OK {
        bail!("{status}: {}", String::from_utf8_lossy(&answer));
    }
    Ok(answer)
}

fn table(explanation: &Explanation) -> String {
    let Explanation { version, view_age_ms, why, request, candidates } = explanation;
    let version = version.as_deref().unwrap_or("none yet");
    let Asked { model, prompt_tokens } = request;
    let mut text = format!(
        "{why}\n\nmodel {model}, {prompt_tokens} prompt tokens; view {version}, {view_age_ms} ms old\n\n\
         {:<20} {:<22} {:<7} {:>8} {:>8} {:>10} {:>10} {:>10} {:>10}\n",
        "endpoint", "address", "tier", "cached", "requests", "wait ms", "prefill ms", "decode ms", "total ms"
    );
    for candidate in candidates {
        let Candidate { endpoint, address, tier, cached_tokens, requests, .. } = candidate;
        let ms = |us: u64| us as f64 / 1e3;
        let (wait, prefill) = (ms(candidate.wait_us), ms(candidate.prefill_us));
        let (decode, total) = (ms(candidate.decode_us), ms(candidate.total_us));
        text.push_str(&format!(
            "{endpoint:<20} {address:<22} {tier:<7} {cached_tokens:>8} {requests:>8} {wait:>10.1} {prefill:>10.1} {decode:>10.1} {total:>10.1}\n"
        ));
    }
    text
}
