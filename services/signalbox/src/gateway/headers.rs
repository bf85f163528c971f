//! Header handling of the proxy: removes hop-by-hop headers, applies the picker's changes, finds the
//! destination.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Uri, request, response};

/// Key of the endpoint that the picker chose, both in its header mutation and in its `envoy.lb` metadata.
pub(super) const DESTINATION: &str = "x-gateway-destination-endpoint";

/// Headers of a single connection (RFC 9110, section 7.6.1), in addition to those that `connection` lists.
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

/// Removes the headers that belong to a single connection.
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

/// Changes that the picker makes to the headers of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mutation {
    removed: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    path: Option<PathAndQuery>,
}

/// A header name or value that HTTP does not allow.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the picker set the header {0:?}, whose name or value is invalid in HTTP")]
pub(super) struct IllegalHeader(String);

impl Mutation {
    /// Creates a mutation from names to remove and values to set. As in Envoy, changes of `host` and of
    /// pseudo headers are ignored, except that a picker can set `:path`.
    ///
    /// # Errors
    /// When a name or value is invalid in HTTP.
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

    /// Removes the headers to remove, then sets the headers to set, replacing existing values.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.removed {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
    }

    /// Returns the destination from the header.
    fn destination(&self) -> Option<&str> {
        self.set.iter().rfind(|(name, _)| name == DESTINATION).and_then(|(_, value)| value.to_str().ok())
    }
}

fn is_protected(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case("host")
}

/// Returns the endpoint for a request: the first entry of the list in the header, or else in the metadata.
pub(super) fn destination(mutation: &Mutation, metadata: Option<&str>) -> Option<Authority> {
    let listed = mutation.destination().or(metadata)?;
    let endpoint: Authority = listed.split(',').next()?.trim().parse().ok()?;
    endpoint.port().is_some().then_some(endpoint)
}

/// Returns the head of the request to `endpoint`: the client's, with `mutation` applied. The content length
/// is removed unless the picker sets it, because the endpoint gets the body that the picker echoes.
pub(super) fn upstream_request(
    client: &request::Parts,
    mutation: &Mutation,
    endpoint: &Authority,
) -> Result<request::Builder, http::Error> {
    let path = mutation.path.as_ref().or(client.uri.path_and_query()).map_or("/", PathAndQuery::as_str);
    let uri = Uri::builder().scheme("http").authority(endpoint.clone()).path_and_query(path).build()?;
    let mut headers = client.headers.clone();
    strip_hop_by_hop(&mut headers);
    headers.remove(CONTENT_LENGTH);
    // The server side of this proxy has already sent `100 Continue` to the client.
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

/// Converts the head of an endpoint's response for the client: removes hop-by-hop headers and applies
/// `mutation`.
pub(super) fn convert_for_client(head: &mut response::Parts, mutation: &Mutation, length: ContentLength) {
    strip_hop_by_hop(&mut head.headers);
    if length == ContentLength::Remove {
        head.headers.remove(CONTENT_LENGTH);
    }
    mutation.apply(&mut head.headers);
}

/// What to do with the content length of an endpoint's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentLength {
    /// Keep it: the client gets the endpoint's body.
    Keep,
    /// Remove it: the client gets the body that the picker echoes, which can have another length.
    Remove,
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
    fn hop_by_hop_headers_are_removed_from_requests() {
        let changes =
            mutation(&[("x-new", "n"), ("Content-Length", "7"), ("host", "evil")], &["x-gone", ":path"]);
        let endpoint: Authority = "127.0.0.1:8001".parse().unwrap();
        let request = upstream_request(&client(), &changes, &endpoint).unwrap().body(()).unwrap();
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
    fn the_picker_can_change_no_pseudo_header_but_the_path() {
        let changes = mutation(&[(":path", "/other?x=y"), (":method", "GET"), (":authority", "evil")], &[]);
        let endpoint: Authority = "[::1]:8001".parse().unwrap();
        let request = upstream_request(&client(), &changes, &endpoint).unwrap().body(()).unwrap();
        assert_eq!(request.uri(), "http://[::1]:8001/other?x=y");
        assert_eq!(request.method(), "POST");
    }

    #[test]
    fn the_first_destination_in_the_header_takes_precedence() {
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
