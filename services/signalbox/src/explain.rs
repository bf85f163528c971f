//! `signalbox explain`: explains where a request would go, or where recent requests went.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::{Method, Uri};
use signalbox_schedule::{ExplainedDecision, Explanation};

use crate::{decision_table, epp_client};

/// Ask a running EPP where a request would go and why, or explain its recent decisions; books nothing
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// File with the body of a request
    #[arg(value_name = "FILE", required_unless_present_any = ["last", "request_id"])]
    request: Option<PathBuf>,
    /// Explain the last N decisions instead of a request [default: 1]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1", conflicts_with = "request")]
    last: Option<usize>,
    /// Explain the decisions on the request with this id (header x-request-id)
    #[arg(long, value_name = "ID", conflicts_with = "request")]
    request_id: Option<String>,
    /// Metrics address of the EPP
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9090")]
    epp: String,
    /// Pool of the request or the decisions, NAMESPACE/NAME; needed if the EPP serves several
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// Path of the request [default: derived from the body]
    #[arg(long, requires = "request")]
    path: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Table
    Text,
    /// JSON as returned by the EPP
    Json,
}

/// Asks the EPP and prints its answer.
///
/// # Errors
/// When the file cannot be read, or the EPP does not answer or returns an error.
pub(crate) async fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let answer = match &args.request {
        Some(file) => explain_request(&args, file).await?,
        None => fetch_decisions(&args).await?,
    };
    let invalid = "cannot parse the answer of the EPP; use the same version of signalbox and signalbox-epp";
    let text = match (args.output, &args.request) {
        (Output::Json, _) => String::from_utf8_lossy(&answer).into_owned(),
        (Output::Text, Some(_)) => {
            let explanation: Explanation = serde_json::from_slice(&answer).context(invalid)?;
            decision_table::explanation(&explanation)
        }
        (Output::Text, None) => {
            let decisions: Vec<ExplainedDecision> = serde_json::from_slice(&answer).context(invalid)?;
            match decisions.is_empty() {
                true => "the EPP has recorded no such decision".to_owned(),
                false => decisions.iter().map(decision_table::decision).collect::<Vec<_>>().join("\n"),
            }
        }
    };
    writeln!(stdout().lock(), "{}", text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

async fn explain_request(args: &ExplainArgs, file: &Path) -> anyhow::Result<Bytes> {
    let body = tokio::fs::read(file).await.with_context(|| format!("cannot read {}", file.display()))?;
    let path = args.path.as_ref().map(|path| format!("path={path}"));
    let query: Vec<_> = path.into_iter().chain(pool_query(args)).collect();
    let uri: Uri = format!("/explain?{}", query.join("&")).parse().context("--path is not a valid path")?;
    epp_client::send(&args.epp, Method::POST, uri, body.into()).await
}

async fn fetch_decisions(args: &ExplainArgs) -> anyhow::Result<Bytes> {
    let limit = args.last.map(|limit| format!("limit={limit}"));
    let request_id = args.request_id.as_deref().map(|id| format!("request_id={}", percent_encode(id)));
    let query: Vec<_> = limit.into_iter().chain(request_id).chain(pool_query(args)).collect();
    let uri = format!("/decisions?{}", query.join("&")).parse()?;
    epp_client::send(&args.epp, Method::GET, uri, Bytes::new()).await
}

fn pool_query(args: &ExplainArgs) -> Option<String> {
    args.pool.as_deref().map(|pool| format!("pool={}", percent_encode(pool)))
}

/// Encodes `text` as a value in a query.
fn percent_encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_characters_are_encoded_in_queries() {
        assert_eq!("a-1%2F%26%20%C3%A9", percent_encode("a-1/& é"));
    }
}
