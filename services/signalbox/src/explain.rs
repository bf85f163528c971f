//! `signalbox explain`: explains where a request would go, or where recent requests went.

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use signalbox_schedule::{ExpectedAdmission, ExplainedDecision, ExplainedRequest};

use crate::exit_codes::NO;
use crate::header_flag::HeaderFlag;
use crate::input::Input;
use crate::output::{Output, PrintError};
use crate::{decision_table, epp_client};

/// Ask a running EPP where a request would go and why, or explain its recent decisions; books nothing
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// File with the body of a request; - for standard input
    #[arg(value_name = "FILE", required_unless_present_any = ["last", "request_id"])]
    request: Option<Input>,
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
    /// Path of the request [default: that of the API which the body matches]
    #[arg(long, requires = "request")]
    path: Option<String>,
    /// Header of the request, as 'NAME: VALUE'; may be repeated. Those of the connection are ignored
    #[arg(short = 'H', long, value_name = "HEADER", requires = "request")]
    header: Vec<HeaderFlag>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Asks the EPP and prints its answer. The answer is no if the request would be refused, or no such decision is recorded.
///
/// # Errors
/// When the file cannot be read, or the EPP does not answer or returns an error.
pub(crate) async fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let (answer, (text, is_answered)) = match &args.request {
        Some(file) => {
            let answer = explain_request(&args, file).await?;
            let explained: ExplainedRequest = parse(&answer)?;
            let is_served = !matches!(explained.admission, ExpectedAdmission::Refused { .. });
            (answer, (decision_table::request(&explained), is_served))
        }
        None => {
            let answer = fetch_decisions(&args).await?;
            let decisions: Vec<ExplainedDecision> = parse(&answer)?;
            (answer, (describe(&decisions), !decisions.is_empty()))
        }
    };
    let text = match args.output {
        Output::Json => String::from_utf8_lossy(&answer).into_owned(),
        Output::Text => text,
    };
    writeln!(stdout().lock(), "{}", text.trim_end()).map_err(PrintError)?;
    Ok(if is_answered { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

fn parse<T: DeserializeOwned>(answer: &[u8]) -> anyhow::Result<T> {
    let invalid = "cannot parse the answer of the EPP; use the same version of signalbox and signalbox-epp";
    serde_json::from_slice(answer).context(invalid)
}

fn describe(decisions: &[ExplainedDecision]) -> String {
    match decisions.is_empty() {
        true => "the EPP has recorded no such decision".to_owned(),
        false => decisions.iter().map(decision_table::decision).collect::<Vec<_>>().join("\n"),
    }
}

async fn explain_request(args: &ExplainArgs, file: &Input) -> anyhow::Result<Bytes> {
    let body = file.read()?;
    let path = args.path.as_ref().map(|path| format!("path={}", percent_encode(path)));
    let query: Vec<_> = path.into_iter().chain(pool_query(args)).collect();
    let uri: Uri = format!("/explain?{}", query.join("&")).parse()?;
    let mut headers = args.header.clone();
    if !headers.iter().any(|header| header.name == CONTENT_TYPE) {
        headers.push(HeaderFlag { name: CONTENT_TYPE, value: HeaderValue::from_static("application/json") });
    }
    epp_client::send(&args.epp, (Method::POST, uri), &headers, body.into()).await
}

async fn fetch_decisions(args: &ExplainArgs) -> anyhow::Result<Bytes> {
    let limit = args.last.map(|limit| format!("limit={limit}"));
    let request_id = args.request_id.as_deref().map(|id| format!("request_id={}", percent_encode(id)));
    let query: Vec<_> = limit.into_iter().chain(request_id).chain(pool_query(args)).collect();
    let uri = format!("/decisions?{}", query.join("&")).parse()?;
    epp_client::send(&args.epp, (Method::GET, uri), &[], Bytes::new()).await
}

fn pool_query(args: &ExplainArgs) -> Option<String> {
    args.pool.as_deref().map(|pool| format!("pool={}", percent_encode(pool)))
}

/// Encodes `text` as a value in a query.
fn percent_encode(text: &str) -> String {
    /// All but the unreserved characters (RFC 3986, section 2.3).
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_characters_are_encoded_in_queries() {
        assert_eq!("a-1%2F%26%20%C3%A9", percent_encode("a-1/& é"));
    }
}
