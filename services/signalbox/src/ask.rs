//! Asks an EPP on its metrics port.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long the EPP may take to answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the EPP at `address` answers.
///
/// # Errors
/// When it does not answer, or refuses; with its reason.
pub(crate) async fn ask(address: &str, method: Method, uri: Uri, body: Bytes) -> anyhow::Result<Bytes> {
    let answer = tokio::time::timeout(DEADLINE, exchange(address, method, uri, body));
    answer.await.with_context(|| format!("{address} does not answer"))?
}

async fn exchange(address: &str, method: Method, uri: Uri, body: Bytes) -> anyhow::Result<Bytes> {
    let mend = || format!("no EPP answers at {address}; give its metrics address with --epp");
    let stream = TcpStream::connect(address).await.with_context(mend)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.with_context(mend)?;
    tokio::spawn(connection);
    let request =
        Request::builder().method(method).uri(uri).header(header::HOST, address).body(Full::new(body))?;
    let response = sender.send_request(request).await.with_context(mend)?;
    let status = response.status();
    let answer = response.into_body().collect().await.with_context(mend)?.to_bytes();
    if status != StatusCode::OK {
        bail!("{status}: {}", String::from_utf8_lossy(&answer));
    }
    Ok(answer)
}
