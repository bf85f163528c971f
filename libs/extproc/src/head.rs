//! What is read of headers.

use signalbox_intake::Api;
use signalbox_intake::answer::AnswerKind;
use signalbox_protos::envoy::config::core::v3::{HeaderMap, HeaderValue};
use signalbox_protos::envoy::service::ext_proc::v3::ProcessingRequest;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request as Message;
use signalbox_types::Models;

use crate::config::Config;
use crate::controls::Controls;

/// The path that a request is read as where it names none.
const DEFAULT_PATH: &str = "/v1/completions";
/// How much of a request id is kept, in characters.
const REQUEST_ID_CHARS: usize = 128;
/// How much is kept of a header that a decision goes by, in characters.
const WANTED_CHARS: usize = 1_024;

/// Headers by which clients and agents name their sessions.
const SESSIONS: [&str; 6] = [
    "x-session-id",
    "x-session-token",
    "x-session-affinity",
    "x-claude-code-session-id",
    "session-id",
    "session_id",
];

/// What is read of a request's headers.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// How the body is to be read.
    pub(crate) api: Api,
    /// How the body is to be read if the request ends at its headers.
    pub(crate) bodiless_api: Api,
    /// The path, where no parser is for it: then a body is refused.
    pub(crate) unclaimed: Option<String>,
    /// Length of the body in bytes, as the client says.
    pub(crate) content_length_bytes: Option<u64>,
    /// None before the headers came.
    pub(crate) request_id: Option<String>,
    id_is_made: bool,
    dice: u64,
    /// Those that a decision goes by, with their values.
    pub(crate) wanted: Vec<(String, String)>,
    /// What they ask of the picker.
    pub(crate) controls: Controls,
    /// What the client calls its session.
    pub(crate) session: Option<String>,
}

impl Head {
    /// What stands in these headers. Without an id the request is given one, by chance.
    pub(crate) fn of_request(headers: Option<&HeaderMap>, config: &Config, chance: u128) -> Self {
        let mut head = Self { controls: Controls::of_request(headers), ..Self::default() };
        let (mut method, mut path, mut original, mut forwarded) = (None, None, None, None);
        for header in headers.map(|map| map.headers.as_slice()).unwrap_or_default() {
            let Some(value) = text(header) else { continue };
            if let Some(name) = config.headers.iter().find(|name| header.key.eq_ignore_ascii_case(name)) {
                head.wanted.push((name.clone(), value.chars().take(WANTED_CHARS).collect()));
            }
            if head.session.is_none() && SESSIONS.iter().any(|name| header.key.eq_ignore_ascii_case(name)) {
                head.session = Some(value.chars().take(WANTED_CHARS).collect());
            }
            let slot = match header.key.as_str() {
                ":method" => &mut method,
                ":path" => &mut path,
                key if key.eq_ignore_ascii_case("x-original-path") => &mut original,
                key if key.eq_ignore_ascii_case("x-forwarded-path") => &mut forwarded,
                key if key.eq_ignore_ascii_case("content-length") => {
                    head.content_length_bytes = value.parse().ok();
                    continue;
                }
                key if key.eq_ignore_ascii_case("x-request-id") => {
                    head.request_id = Some(value.chars().take(REQUEST_ID_CHARS).collect());
                    continue;
                }
                _ => continue,
            };
            *slot = Some(value);
        }
        if head.request_id.is_none() {
            (head.request_id, head.id_is_made) = (Some(random_id(chance)), true);
        }
        head.dice = chance as u64;
        let path = path.or(original).or(forwarded).unwrap_or(DEFAULT_PATH);
        let claimed = config.parsers.claim(path);
        head.unclaimed = claimed.is_none().then(|| path.chars().take(WANTED_CHARS).collect());
        let api = claimed.unwrap_or_default();
        (head.api, head.bodiless_api) = match method {
            Some("POST") => (api, api),
            Some(_) => (Api::Opaque, Api::Opaque),
            // Without a method, it is the body that tells a POST from a GET.
            None => (api, Api::Opaque),
        };
        head
    }

    /// What is taken for headers that cannot be read for a fault: of such a request nothing is known, and nothing that it says counts.
    pub(crate) fn unread(chance: u128) -> Self {
        Self {
            request_id: Some(random_id(chance)),
            id_is_made: true,
            controls: Controls::unread(),
            ..Self::default()
        }
    }

    /// The request's id, if it came without one.
    pub(crate) fn made_id(&self) -> Option<&str> {
        self.request_id.as_deref().filter(|_| self.id_is_made)
    }

    /// The model that is to serve a request for the model `asked`, if it is another one. What the pool says comes before what the client
    /// asks for.
    pub(crate) fn target(&self, asked: &str, models: &Models) -> Option<String> {
        let target =
            models.target(asked, self.session.as_deref(), self.dice).or(self.controls.rewrite.as_deref());
        target.filter(|target| *target != asked).map(str::to_owned)
    }
}

/// A random UUID of version 4 (RFC 9562) in its usual form.
fn random_id(chance: u128) -> String {
    let bits = chance & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let text = format!("{bits:032x}");
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// The value of a request's header, where `message` has the headers of a request and the one called `name` among them.
pub fn request_header<'a>(message: &'a ProcessingRequest, name: &str) -> Option<&'a str> {
    let Some(Message::RequestHeaders(headers)) = &message.request else { return None };
    let headers = headers.headers.as_ref().map(|map| map.headers.as_slice()).unwrap_or_default();
    text(headers.iter().find(|header| header.key.eq_ignore_ascii_case(name))?)
}

/// How the body of a response is to be read, by its headers: not at all where it is compressed, or is no answer.
pub(crate) fn answer_kind(headers: Option<&HeaderMap>) -> AnswerKind {
    let headers = headers.map(|map| map.headers.as_slice()).unwrap_or_default();
    let value = |name: &str| text(headers.iter().find(|header| header.key.eq_ignore_ascii_case(name))?);
    if value("content-encoding").is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return AnswerKind::Unread;
    }
    let kind = value("content-type").unwrap_or_default().to_ascii_lowercase();
    match kind.split(';').next().unwrap_or_default().trim() {
        "text/event-stream" => AnswerKind::Events,
        "application/json" => AnswerKind::Whole,
        kind if kind.starts_with("application/grpc") => AnswerKind::Framed,
        _ => AnswerKind::Unread,
    }
}

/// The HTTP status that a response's headers tell.
pub(crate) fn status(headers: Option<&HeaderMap>) -> Option<u16> {
    let headers = headers.map(|map| map.headers.as_slice()).unwrap_or_default();
    let status = headers.iter().find(|header| matches!(header.key.as_str(), ":status" | "status"))?;
    text(status)?.parse().ok()
}

/// A header's value, wherever the gateway put it; nothing if it is empty or no text.
pub(crate) fn text(header: &HeaderValue) -> Option<&str> {
    let raw = str::from_utf8(&header.raw_value).ok()?;
    let value = if raw.is_empty() { header.value.as_str() } else { raw };
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use signalbox_protos::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders};

    use super::*;

    fn raw(key: &str, value: &'static str) -> HeaderValue {
        HeaderValue { key: key.to_owned(), value: String::new(), raw_value: value.into() }
    }

    fn plain(key: &str, value: &str) -> HeaderValue {
        HeaderValue { key: key.to_owned(), value: value.to_owned(), raw_value: "".into() }
    }

    fn head(headers: Vec<HeaderValue>) -> Head {
        let config = Config { headers: ["x-session-id".to_owned()].into(), ..Config::default() };
        Head::of_request(Some(&HeaderMap { headers }), &config, 7)
    }

    #[test]
    fn the_path_is_looked_for_in_order() {
        let chat = "/v1/chat/completions";
        assert_eq!(head(vec![raw(":path", chat), raw("x-original-path", "/a")]).api, Api::Chat);
        assert_eq!(head(vec![plain(":path", chat)]).api, Api::Chat);
        assert_eq!(head(vec![raw("x-forwarded-path", "/a"), raw("X-Original-Path", chat)]).api, Api::Chat);
        assert_eq!(head(vec![raw("x-forwarded-path", chat), raw(":path", "")]).api, Api::Chat);
        assert_eq!(head(vec![]).api, Api::Completions);
        assert_eq!(Head::of_request(None, &Config::default(), 7).api, Api::Completions);
        assert_eq!(head(vec![raw(":path", "/v1/models"), raw("x-original-path", chat)]).api, Api::Opaque);
    }

    #[test]
    fn only_a_post_has_a_body_to_be_read() {
        let path = || raw(":path", "/v1/completions");
        let post = head(vec![raw(":method", "POST"), path()]);
        assert_eq!((post.api, post.bodiless_api), (Api::Completions, Api::Completions));
        let get = head(vec![plain(":method", "GET"), path()]);
        assert_eq!((get.api, get.bodiless_api), (Api::Opaque, Api::Opaque));
        let unknown = head(vec![path()]);
        assert_eq!((unknown.api, unknown.bodiless_api), (Api::Completions, Api::Opaque));
    }

    #[test]
    fn names_are_read_in_any_case_and_values_are_bounded() {
        let long = Box::leak("é".repeat(200).into_boxed_str());
        let read = head(vec![raw("Content-Length", "12"), raw("X-Request-ID", long)]);
        assert_eq!(read.content_length_bytes, Some(12));
        assert_eq!(read.request_id, Some("é".repeat(REQUEST_ID_CHARS)));
        let read = head(vec![raw("content-length", "-1")]);
        assert_eq!(read.content_length_bytes, None);
    }

    #[test]
    fn a_request_without_an_id_is_given_one() {
        let read = head(vec![]);
        assert_eq!(Some("00000000-0000-4000-8000-000000000007"), read.made_id());
        assert_eq!("ffffffff-ffff-4fff-bfff-ffffffffffff", random_id(u128::MAX));
        let read = head(vec![raw("x-request-id", "a")]);
        assert_eq!((Some("a"), None), (read.request_id.as_deref(), read.made_id()));
    }

    #[test]
    fn wanted_headers_are_kept_and_bounded() {
        let long = Box::leak("a".repeat(2_000).into_boxed_str());
        let read = head(vec![raw("X-Session-Id", long), raw("x-other", "1")]);
        assert_eq!(read.wanted, [("x-session-id".to_owned(), "a".repeat(WANTED_CHARS))]);
    }

    #[test]
    fn a_header_is_found_in_the_message_that_has_headers() {
        let headers = Some(HeaderMap { headers: vec![raw("Traceparent", "00-1-2-01")] });
        let of = ProcessingRequest::from;
        let message = of(Message::RequestHeaders(HttpHeaders { headers, ..HttpHeaders::default() }));
        assert_eq!(request_header(&message, "traceparent"), Some("00-1-2-01"));
        assert_eq!(request_header(&message, "tracestate"), None);
        assert_eq!(request_header(&of(Message::RequestBody(HttpBody::default())), "traceparent"), None);
    }

    #[test]
    fn a_response_is_read_by_its_type_unless_it_is_compressed() {
        let kind = |headers: Vec<HeaderValue>| answer_kind(Some(&HeaderMap { headers }));
        let content = |text| raw("Content-Type", text);
        assert_eq!(AnswerKind::Events, kind(vec![content("text/event-stream; charset=utf-8")]));
        assert_eq!(
            AnswerKind::Whole,
            kind(vec![content("Application/JSON"), raw("content-encoding", "identity")])
        );
        assert_eq!(AnswerKind::Framed, kind(vec![content("application/grpc+proto")]));
        assert_eq!(
            AnswerKind::Unread,
            kind(vec![content("application/json"), raw("content-encoding", "gzip")])
        );
        assert_eq!(AnswerKind::Unread, kind(vec![content("text/html")]));
        assert_eq!(AnswerKind::Unread, answer_kind(None));
    }

    #[test]
    fn the_status_is_read() {
        let of = |header| status(Some(&HeaderMap { headers: vec![header] }));
        assert_eq!(of(raw(":status", "200")), Some(200));
        assert_eq!(of(plain("status", "503")), Some(503));
        assert_eq!(of(raw(":status", "fine")), None);
        assert_eq!(status(None), None);
    }
}
