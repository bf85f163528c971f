//! Sends requests to the metrics port of an EPP.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderName, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::header_flag::HeaderFlag;

/// Timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Headers of a single connection and its messages (RFC 9110, section 7.6.1, and RFC 9112): those of the request that is asked
/// about mean nothing here.
const OF_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Sends a request to the EPP at `address` and returns the body of the response. `headers` are sent except those of the
/// connection.
///
/// # Errors
/// When the EPP does not answer in time or returns an error.
pub(crate) async fn send(
    address: &str,
    (method, uri): (Method, Uri),
    headers: &[HeaderFlag],
    body: Bytes,
) -> anyhow::Result<Bytes> {
    let mut request =
        Request::builder().method(method).uri(uri).header(header::HOST, address).body(Full::new(body))?;
    for HeaderFlag { name, value } in headers.iter().filter(|header| !OF_CONNECTION.contains(&header.name)) {
        request.headers_mut().append(name, value.clone());
    }
    let response = tokio::time::timeout(TIMEOUT, exchange(address, request));
    response.await.with_context(|| format!("{address} does not answer within {} s", TIMEOUT.as_secs()))?
}

async fn exchange(address: &str, request: Request<Full<Bytes>>) -> anyhow::Result<Bytes> {
    let hint = || format!("cannot reach an EPP at {address}; set its metrics address with --epp");
    let stream = TcpStream::connect(address).await.with_context(hint)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.with_context(hint)?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.with_context(hint)?;
    let status = response.status();
    let body = response.into_body().collect().await.with_context(hint)?.to_bytes();
    if status != StatusCode::OK {
        bail!("{status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(body)
}
