//! What a proxy does to headers: drops those of the hop, applies what the picker changed, finds the destination.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Uri, request, response};

/// Names the endpoint that the picker chose, in its header mutation and in its `envoy.lb` metadata.
pub(super) const DESTINATION: &str = "x-gateway-destination-endpoint";

/// Headers that are about one connection only (RFC 9110, 7.6.1), besides those that `connection` lists.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Removes the headers that are about one connection only.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|token| token.trim().parse().ok())
        .collect();
    for name in listed {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// What the picker wants changed in a message's headers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mutation {
    removed: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    path: Option<PathAndQuery>,
}

/// A header name or value that HTTP does not allow.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the picker set the header {0:?} to what HTTP does not allow")]
pub(super) struct IllegalHeader(String);

impl Mutation {
    /// Reads names to remove and values to set. As in Envoy, a picker cannot remove or set `host` or any pseudo
    /// header, except that it may set `:path`.
    ///
    /// # Errors
    /// When a name or value is not legal in HTTP.
    pub(super) fn new(
        removed: impl IntoIterator<Item = String>,
        set: impl IntoIterator<Item = (String, Bytes)>,
    ) -> Result<Self, IllegalHeader> {
        let mut mutation = Self::default();
        for name in removed.into_iter().filter(|name| !is_protected(name)) {
            mutation.removed.push(name.parse().map_err(|_| IllegalHeader(name))?);
        }
        for (name, value) in set {
            if name == ":path" {
                mutation.path =
                    Some(PathAndQuery::from_maybe_shared(value).map_err(|_| IllegalHeader(name))?);
            } else if !is_protected(&name) {
                let value = HeaderValue::from_maybe_shared(value).map_err(|_| IllegalHeader(name.clone()))?;
                mutation.set.push((name.parse().map_err(|_| IllegalHeader(name))?, value));
            }
        }
        Ok(mutation)
    }

    /// Applies the changes: first what is removed, then what is set; setting overwrites.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.removed {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
    }

    /// The destination as the header names it.
    fn destination(&self) -> Option<&str> {
        self.set.iter().rfind(|(name, _)| name == DESTINATION).and_then(|(_, value)| value.to_str().ok())
    }
}

fn is_protected(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case("host")
}

/// The endpoint to send a request to: the first entry of the header's list, or else of the metadata's.
pub(super) fn destination(mutation: &Mutation, metadata: Option<&str>) -> Option<Authority> {
    let listed = mutation.destination().or(metadata)?;
    let endpoint: Authority = listed.split(',').next()?.trim().parse().ok()?;
    endpoint.port().is_some().then_some(endpoint)
}

/// The head of the request to `endpoint`: the client's with `mutation` applied. The length is unknown unless the
/// picker says it, because the body is what the picker echoes.
pub(super) fn toward_upstream(
    client: &request::Parts,
    mutation: &Mutation,
    endpoint: &Authority,
) -> Result<request::Builder, http::Error> {
    let path = mutation.path.as_ref().or(client.uri.path_and_query()).map_or("/", PathAndQuery::as_str);
    let uri = Uri::builder().scheme("http").authority(endpoint.clone()).path_and_query(path).build()?;
    let mut headers = client.headers.clone();
    strip_hop_by_hop(&mut headers);
    headers.remove(CONTENT_LENGTH);
    // The server side of this proxy has already told the client to continue.
    headers.remove(EXPECT);
    mutation.apply(&mut headers);
    if let Some(authority) = client.uri.authority() {
        headers.insert(HOST, HeaderValue::from_str(authority.as_str())?);
    }
    let mut builder = request::Builder::new().method(client.method.clone()).uri(uri);
    if let Some(slot) = builder.headers_mut() {
        *slot = headers;
    }
    Ok(builder)
}

/// Changes the head of an upstream's response into that for the client: without the hop's headers and with
/// `mutation` applied.
pub(super) fn toward_client(head: &mut response::Parts, mutation: &Mutation, length: Length) {
    strip_hop_by_hop(&mut head.headers);
    if length == Length::Unknown {
        head.headers.remove(CONTENT_LENGTH);
    }
    mutation.apply(&mut head.headers);
}

/// Whether the endpoint's word on the length of a response holds for the client too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// It does.
    AsSaid,
    /// The body is what the picker echoes, which may have another length.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn mutation(set: &[(&str, &str)], removed: &[&str]) -> Mutation {
        let set = set.iter().map(|(name, value)| ((*name).to_owned(), Bytes::from((*value).to_owned())));
        Mutation::new(removed.iter().map(|name| (*name).to_owned()), set).unwrap()
    }

    fn client() -> request::Parts {
        let request = Request::post("/v1/completions?a=b")
            .header("host", "example")
            .header("connection", "close, x-hop")
            .header("x-hop", "1")
            .header("te", "trailers")
            .header("content-length", "5")
            .header("expect", "100-continue")
            .header("x-kept", "one")
            .header("x-kept", "two")
            .body(())
            .unwrap();
        request.into_parts().0
    }

    #[test]
    fn a_request_loses_what_belongs_to_the_hop_and_keeps_the_rest() {
        let changes =
            mutation(&[("x-new", "n"), ("Content-Length", "7"), ("host", "evil")], &["x-gone", ":path"]);
        let endpoint: Authority = "127.0.0.1:8001".parse().unwrap();
        let request = toward_upstream(&client(), &changes, &endpoint).unwrap().body(()).unwrap();
        assert_eq!(request.uri(), "http://127.0.0.1:8001/v1/completions?a=b");
        assert_eq!(request.method(), "POST");
        let headers = request.headers();
        assert_eq!(headers["host"], "example");
        assert_eq!(headers["content-length"], "7");
        assert_eq!(headers["x-new"], "n");
        assert_eq!(headers.get_all("x-kept").iter().count(), 2);
        assert_eq!(headers.len(), 5, "{headers:?}");
    }

    #[test]
    fn the_picker_may_change_the_path_only() {
        let changes = mutation(&[(":path", "/other?x=y"), (":method", "GET"), (":authority", "evil")], &[]);
        let endpoint: Authority = "[::1]:8001".parse().unwrap();
        let request = toward_upstream(&client(), &changes, &endpoint).unwrap().body(()).unwrap();
        assert_eq!(request.uri(), "http://[::1]:8001/other?x=y");
        assert_eq!(request.method(), "POST");
    }

    #[test]
    fn the_header_wins_over_the_metadata_and_the_first_entry_over_the_others() {
        let named = mutation(&[("X-Gateway-Destination-Endpoint", "10.0.0.1:80, 10.0.0.2:80")], &[]);
        assert_eq!(destination(&named, Some("10.0.0.9:80")).unwrap(), "10.0.0.1:80");
        assert_eq!(destination(&Mutation::default(), Some("[::1]:80")).unwrap(), "[::1]:80");
        assert_eq!(destination(&Mutation::default(), None), None);
        assert_eq!(destination(&Mutation::default(), Some("no-port")), None);
    }

    #[test]
    fn an_illegal_header_is_an_error() {
        let set = [("x-a".to_owned(), Bytes::from_static(b"a\nb"))];
        assert_eq!(Mutation::new([], set), Err(IllegalHeader("x-a".to_owned())));
    }
}
