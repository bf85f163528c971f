//! `signalbox explain`: which endpoint a request would go to, or where past ones went, and why.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::{Method, Uri};
use signalbox_schedule::{DecisionAccount, Explanation};

use crate::account;
use crate::ask::ask;

/// Ask a running EPP where a request would go, or where the latest ones went, and why; nothing is booked
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// The request's body, as it would be sent
    #[arg(value_name = "FILE", required_unless_present_any = ["last", "request_id"])]
    request: Option<PathBuf>,
    /// The latest N decisions instead [default: 1]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1", conflicts_with = "request")]
    last: Option<usize>,
    /// The decisions about the request with this id (x-request-id) instead
    #[arg(long, value_name = "ID", conflicts_with = "request")]
    request_id: Option<String>,
    /// The EPP's metrics address
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9090")]
    epp: String,
    /// The path that the request would have [default: that of the API which the body looks like]
    #[arg(long, requires = "request")]
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

/// Asks and prints.
///
/// # Errors
/// When the file cannot be read, or the EPP does not answer or refuses.
pub(crate) async fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let answer = match &args.request {
        Some(file) => would_go(&args, file).await?,
        None => went(&args).await?,
    };
    let of_version = "the EPP's answer is not of this version";
    let text = match (args.output, &args.request) {
        (Output::Json, _) => String::from_utf8_lossy(&answer).into_owned(),
        (Output::Text, Some(_)) => {
            let explanation: Explanation = serde_json::from_slice(&answer).context(of_version)?;
            account::explained(&explanation)
        }
        (Output::Text, None) => {
            let accounts: Vec<DecisionAccount> = serde_json::from_slice(&answer).context(of_version)?;
            match accounts.is_empty() {
                true => "the EPP keeps no such decision".to_owned(),
                false => accounts.iter().map(account::told).collect::<Vec<_>>().join("\n"),
            }
        }
    };
    writeln!(stdout().lock(), "{}", text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

async fn would_go(args: &ExplainArgs, file: &Path) -> anyhow::Result<Bytes> {
    let body = tokio::fs::read(file).await.with_context(|| format!("cannot read {}", file.display()))?;
    let query = args.path.as_ref().map_or(String::new(), |path| format!("?path={path}"));
    let uri: Uri = format!("/explain{query}").parse().context("--path is no path")?;
    ask(&args.epp, Method::POST, uri, body.into()).await
}

async fn went(args: &ExplainArgs) -> anyhow::Result<Bytes> {
    let limit = args.last.map(|limit| format!("limit={limit}"));
    let request_id = args.request_id.as_deref().map(|id| format!("request_id={}", encoded(id)));
    let query: Vec<_> = limit.into_iter().chain(request_id).collect();
    let uri = format!("/decisions?{}", query.join("&")).parse()?;
    ask(&args.epp, Method::GET, uri, Bytes::new()).await
}

/// `text` as a value in a query.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_id_fits_into_a_query() {
        assert_eq!("a-1%2F%26%20%C3%A9", encoded("a-1/& é"));
    }
}
