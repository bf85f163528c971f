//! Responses that endpoints keep, and requests that name them.

use signalbox_types::ResponseKey;

use crate::gateway::{
    Gateway, Observed, request, request_headers, response_body, response_headers, response_headers_of,
};

const POST: [(&str, &str); 2] = [(":method", "POST"), (":path", "/v1/responses")];

/// Returns the key in the pick of a request.
fn named(observed: &[Observed]) -> Option<ResponseKey> {
    let Some(Observed::Pick(parsed)) = observed.first() else { panic!("{observed:?}") };
    parsed.stored_response
}

#[test]
fn request_names_a_response_in_its_body_or_path() {
    let body = |previous: &str| format!(r#"{{"model":"m","input":"a"{previous}}}"#);
    let key = Some(ResponseKey::of("resp_1"));
    for (previous, expected) in
        [(r#","previous_response_id":"resp_1""#, key), (r#","previous_response_id":null"#, None), ("", None)]
    {
        let mut gateway = Gateway::new();
        let [headers, body] = request(&POST, &body(previous));
        gateway.send(headers);
        assert_eq!(expected, named(&gateway.send(body)), "{previous}");
    }
    for method in ["GET", "DELETE"] {
        let headers = [(":method", method), (":path", "/v1/responses/resp_1?include=a")];
        assert_eq!(key, named(&Gateway::new().send(request_headers(&headers, true))), "{method}");
    }
    let cancel = [(":method", "POST"), (":path", "/v1/responses/resp_1/cancel")];
    assert_eq!(key, named(&Gateway::new().send(request_headers(&cancel, true))));
}

/// Sends a request, and the response in pieces; returns the kept responses.
fn kept(request_body: &str, headers: &[(&str, &str)], pieces: &[&str]) -> Vec<ResponseKey> {
    let mut gateway = Gateway::new();
    request(&POST, request_body).into_iter().for_each(|message| drop(gateway.send(message)));
    let mut observed = gateway.send(response_headers_of(headers));
    for (at, piece) in pieces.iter().enumerate() {
        observed.extend(gateway.send(response_body(*piece, at + 1 == pieces.len())));
    }
    let kept = |observed| match observed {
        Observed::ResponseStored(response) => Some(response),
        _ => None,
    };
    observed.into_iter().filter_map(kept).collect()
}

#[test]
fn response_that_the_endpoint_keeps_is_told_once() {
    let request = r#"{"model":"m","input":"a"}"#;
    let events = [(":status", "200"), ("content-type", "text/event-stream")];
    let json = [(":status", "200"), ("content-type", "application/json")];
    let created =
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_2\"}}\n\n";
    let completed =
        "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_2\",\"output\":[]}}\n\n";
    let item = "data: {\"type\":\"response.output_item.added\",\"item\":{\"id\":\"msg_1\"}}\n\n";
    let long = "x".repeat(100_000);
    let long = format!(
        "data: {{\"type\":\"response.created\",\"response\":{{\"instructions\":\"{long}\",\"id\":\"resp_2\"}}}}\n\n"
    );
    let document = r#"{"id":"resp_2","object":"response","output":[{"id":"msg_1"}]}"#;
    let key = vec![ResponseKey::of("resp_2")];
    assert_eq!(key, kept(request, &events, &[&created[..40], &created[40..], item, completed]));
    assert_eq!(key, kept(request, &events, &[&long]));
    assert_eq!(key, kept(request, &events, &[item, completed]));
    assert_eq!(key, kept(request, &json, &[&document[..20], &document[20..]]));
    // Nobody can name these again.
    assert!(kept(r#"{"model":"m","input":"a","store":false}"#, &json, &[document]).is_empty());
    let refused = [(":status", "400"), json[1]];
    assert!(kept(request, &refused, &[document]).is_empty());
}

/// Sends a request without a body, and the headers of its response; returns the deleted response.
fn deleted(method: &str, path: &str, status: &str) -> Option<ResponseKey> {
    let mut gateway = Gateway::new();
    gateway.send(request_headers(&[(":method", method), (":path", path)], true));
    gateway.send(response_headers(status, true)).into_iter().find_map(|observed| match observed {
        Observed::ResponseDeleted(response) => Some(response),
        _ => None,
    })
}

#[test]
fn response_that_the_endpoint_deletes_is_told() {
    let key = Some(ResponseKey::of("resp_1"));
    assert_eq!(key, deleted("DELETE", "/v1/responses/resp_1?a=b", "200"));
    assert_eq!(key, deleted("DELETE", "/v1/responses/resp_1", "204"));
    // The endpoint may not be the one that keeps it, or keeps it still.
    for status in ["404", "500"] {
        assert_eq!(None, deleted("DELETE", "/v1/responses/resp_1", status));
    }
    assert_eq!(None, deleted("GET", "/v1/responses/resp_1", "200"));
    assert_eq!(None, deleted("DELETE", "/v1/responses/resp_1/input_items", "200"));
    assert_eq!(None, deleted("DELETE", "/v1/files/resp_1", "200"));
}

#[test]
fn ids_of_other_apis_name_nothing() {
    let mut gateway = Gateway::new();
    let chat = [(":method", "POST"), (":path", "/v1/chat/completions")];
    let body = r#"{"model":"m","messages":[{"role":"user","content":"a"}]}"#;
    request(&chat, body).into_iter().for_each(|message| drop(gateway.send(message)));
    gateway.send(response_headers("200", false));
    let event = "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let observed = gateway.send(response_body(event, true));
    assert!(!observed.iter().any(|of| matches!(of, Observed::ResponseStored(_))), "{observed:?}");
}
