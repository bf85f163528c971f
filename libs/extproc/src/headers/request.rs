//! Reads request headers.

use signalbox_intake::{Api, ContentEncodings, StoredResponse, models_in_path};
use signalbox_protos::envoy::config::core::v3::HeaderMap;
use signalbox_types::{Models, Request, ResponseKey};

use crate::config::Config;
use crate::error_format::ErrorFormat;
use crate::headers::control::ControlHeaders;
use crate::headers::value::header_text;

/// Maximum length of a request id in characters; longer ones are truncated.
const MAX_REQUEST_ID_CHARS: usize = 128;
/// Maximum length of a header value that is kept for a decision, in characters; longer ones are truncated.
const MAX_HEADER_CHARS: usize = 1_024;

/// Headers in which clients and agents identify their sessions. A session token is none of them: it names an
/// endpoint, which many sessions share and which one session changes.
const SESSION_HEADERS: [&str; 5] =
    ["x-session-id", "x-session-affinity", "x-claude-code-session-id", "session-id", "session_id"];

/// Headers in which gateways that read the body themselves pass the model on: the body-based router of the Gateway API
/// Inference Extension, and Envoy AI Gateway.
const MODEL_HEADERS: [&str; 2] = ["x-gateway-model-name", "x-ai-eg-model"];

/// The information in a request's headers.
#[derive(Debug, Default)]
pub(crate) struct RequestHeaders {
    /// How to parse the body.
    pub(crate) api: Api,
    /// How to parse the body if the request ends with its headers.
    pub(crate) bodiless_api: Api,
    /// How the client expects errors.
    pub(crate) error_format: ErrorFormat,
    /// The path if no configured parser handles it; then a body is refused.
    pub(crate) unsupported_path: Option<String>,
    /// The API of a body that passes unread, as far as it may name a model.
    pub(crate) passing_api: Api,
    /// Whether the gateway sent the path itself: one that sends only the client's headers takes no changes.
    pub(crate) has_path: bool,
    /// The model of the request according to the gateway.
    pub(crate) model: Option<String>,
    /// Names in the path of a request that is not read, each of which may be that of a model. Empty if no rewrite names its
    /// models.
    pub(crate) models_in_path: Vec<String>,
    /// Length of the body in bytes according to the client.
    pub(crate) content_length_bytes: Option<u64>,
    /// How the body is compressed; `None` if it cannot be decoded.
    pub(crate) encodings: Option<ContentEncodings>,
    /// `None` until the headers have arrived.
    pub(crate) request_id: Option<String>,
    is_id_generated: bool,
    rewrite_seed: u64,
    /// Names and values of the headers that the policy reads.
    pub(crate) decision_headers: Vec<(String, String)>,
    /// Settings in the control headers.
    pub(crate) controls: ControlHeaders,
    /// The response that the path names.
    pub(crate) stored_response: Option<ResponseKey>,
    /// The response that the request deletes.
    pub(crate) deleted_response: Option<ResponseKey>,
    /// The client's session.
    pub(crate) session: Option<String>,
}

impl RequestHeaders {
    /// Parses a request's headers. Generates a request id from `random_bits` if there is none.
    pub(crate) fn parse(headers: Option<&HeaderMap>, config: &Config, random_bits: u128) -> Self {
        let mut parsed = Self { controls: ControlHeaders::parse(headers), ..Self::default() };
        let (mut method, mut path, mut original, mut forwarded) = (None, None, None, None);
        let (mut content_type, mut encoding, mut upgrade, mut anthropic_version) = (None, None, None, None);
        for header in headers.map(|map| map.headers.as_slice()).unwrap_or_default() {
            let Some(value) = header_text(header) else { continue };
            if let Some(name) =
                config.decision_headers.iter().find(|name| header.key.eq_ignore_ascii_case(name))
            {
                parsed.decision_headers.push((name.clone(), truncated(value)));
            }
            let is_token = config
                .session_token_header
                .as_deref()
                .is_some_and(|name| header.key.eq_ignore_ascii_case(name));
            if parsed.session.is_none()
                && !is_token
                && SESSION_HEADERS.iter().any(|name| header.key.eq_ignore_ascii_case(name))
            {
                parsed.session = Some(truncated(value));
            }
            let slot = match header.key.as_str() {
                ":method" => &mut method,
                ":path" => &mut path,
                key if key.eq_ignore_ascii_case("x-original-path") => &mut original,
                key if key.eq_ignore_ascii_case("x-forwarded-path") => &mut forwarded,
                key if key.eq_ignore_ascii_case("content-type") => &mut content_type,
                key if key.eq_ignore_ascii_case("anthropic-version") => &mut anthropic_version,
                key if key.eq_ignore_ascii_case("content-encoding") => &mut encoding,
                key if key.eq_ignore_ascii_case("upgrade") => &mut upgrade,
                key if key.eq_ignore_ascii_case("content-length") => {
                    parsed.content_length_bytes = value.parse().ok();
                    continue;
                }
                key if MODEL_HEADERS.iter().any(|name| key.eq_ignore_ascii_case(name)) => {
                    parsed.model = config.models.has_named_sources().then(|| truncated(value));
                    continue;
                }
                key if key.eq_ignore_ascii_case("x-request-id") => {
                    parsed.request_id = Some(value.chars().take(MAX_REQUEST_ID_CHARS).collect());
                    continue;
                }
                _ => continue,
            };
            *slot = Some(value);
        }
        if parsed.request_id.is_none() {
            (parsed.request_id, parsed.is_id_generated) = (Some(uuid_v4(random_bits)), true);
        }
        parsed.rewrite_seed = random_bits as u64;
        // NGINX Gateway Fabric sends the client's headers only.
        parsed.has_path = path.is_some();
        let path = path.or(original).or(forwarded);
        parsed.error_format =
            ErrorFormat::of(path.unwrap_or_default(), content_type, anthropic_version.is_some());
        let named = path.and_then(StoredResponse::in_path);
        parsed.stored_response = named.map(|named| named.key);
        let is_deleted = |named: &StoredResponse| named.is_itself && method == Some("DELETE");
        parsed.deleted_response = named.filter(is_deleted).map(|named| named.key);
        let api = match path {
            Some(path) => config.parsers.api_for_path(path),
            None if parsed.error_format == ErrorFormat::Grpc => Some(Api::Opaque),
            None => Some(Api::ByShape),
        };
        parsed.unsupported_path = path.filter(|_| api.is_none()).map(truncated);
        let may_rewrite = !config.models.rewrites().is_empty() || parsed.controls.rewrite.is_some();
        let api = api.unwrap_or_default().of_content(content_type, may_rewrite);
        let is_web_socket = upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"));
        parsed.encodings = ContentEncodings::parse(encoding.unwrap_or_default()).ok();
        (parsed.api, parsed.bodiless_api) = match method {
            _ if is_web_socket => (Api::Opaque, Api::Opaque),
            Some("POST") => (api, api),
            Some(_) => (Api::Opaque, Api::Opaque),
            // Without a method, only the presence of a body distinguishes a POST from a GET.
            None => (api, Api::Opaque),
        };
        let is_json = content_type.is_some_and(|kind| kind.to_ascii_lowercase().contains("json"));
        parsed.passing_api = match parsed.api {
            Api::Opaque if is_json && !is_web_socket => Api::ModelJson,
            api => api,
        };
        if parsed.bodiless_api == Api::Opaque && config.models.has_named_sources() {
            parsed.models_in_path = path.map(models_in_path).unwrap_or_default();
        }
        parsed
    }

    /// Returns the defaults for headers whose parsing panicked: nothing is known about the request, and no
    /// setting applies.
    pub(crate) fn unreadable(random_bits: u128) -> Self {
        Self {
            request_id: Some(uuid_v4(random_bits)),
            is_id_generated: true,
            controls: ControlHeaders::unreadable(),
            has_path: true,
            ..Self::default()
        }
    }

    /// Returns the announced length of the body in bytes if it is more than `received_bytes`.
    pub(crate) fn announced_bytes_if_more(&self, received_bytes: usize) -> Option<u64> {
        self.content_length_bytes.filter(|announced_bytes| *announced_bytes > received_bytes as u64)
    }

    /// Adds to `request` what the headers say about it.
    pub(crate) fn move_to(&mut self, request: &mut Request, models: &Models) {
        request.headers = std::mem::take(&mut self.decision_headers);
        request.priority = models.priority(self.controls.objective.as_deref());
        request.flow = self.controls.fairness_id.clone().or_else(|| self.controls.objective.clone());
        request.ttft_goal_ms = self.controls.ttft_goal_ms;
        request.tpot_goal_ms = self.controls.tpot_goal_ms;
    }

    /// Returns whether the body is compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.encodings.as_ref().is_some_and(|encodings| !encodings.is_identity())
    }

    /// Returns the request id if it was generated.
    pub(crate) fn generated_id(&self) -> Option<&str> {
        self.request_id.as_deref().filter(|_| self.is_id_generated)
    }

    /// Returns the model that serves a request for the model `requested`, if it is another one. The pool's
    /// rewrites take precedence over the client's header.
    pub(crate) fn rewrite_target(&self, requested: &str, models: &Models) -> Option<String> {
        let target = models
            .target(requested, self.session.as_deref(), self.rewrite_seed)
            .or(self.controls.rewrite.as_deref());
        target.filter(|target| *target != requested).map(str::to_owned)
    }
}

/// Returns a header value as it is kept.
fn truncated(value: &str) -> String {
    value.chars().take(MAX_HEADER_CHARS).collect()
}

/// Returns a random UUID of version 4 (RFC 9562).
fn uuid_v4(random_bits: u128) -> String {
    uuid::Builder::from_u128(random_bits)
        .with_variant(uuid::Variant::RFC4122)
        .with_version(uuid::Version::Random)
        .into_uuid()
        .to_string()
}

#[cfg(test)]
mod tests {
    use signalbox_protos::envoy::config::core::v3::HeaderValue;

    use super::*;
    use crate::headers::value::tests::{plain, raw};

    fn parse(headers: Vec<HeaderValue>) -> RequestHeaders {
        let config = Config { decision_headers: ["x-session-id".to_owned()].into(), ..Config::default() };
        RequestHeaders::parse(Some(&HeaderMap { headers }), &config, 7)
    }

    #[test]
    fn path_headers_have_an_order_of_precedence() {
        let chat = "/v1/chat/completions";
        assert_eq!(parse(vec![raw(":path", chat), raw("x-original-path", "/a")]).api, Api::Chat);
        assert_eq!(parse(vec![plain(":path", chat)]).api, Api::Chat);
        assert_eq!(parse(vec![raw("x-forwarded-path", "/a"), raw("X-Original-Path", chat)]).api, Api::Chat);
        assert_eq!(parse(vec![raw("x-forwarded-path", chat), raw(":path", "")]).api, Api::Chat);
        assert_eq!(parse(vec![]).api, Api::ByShape);
        assert_eq!(RequestHeaders::parse(None, &Config::default(), 7).api, Api::ByShape);
        assert_eq!(parse(vec![raw("content-type", "application/grpc")]).api, Api::Opaque);
        assert_eq!(parse(vec![raw(":path", "/v1/models"), raw("x-original-path", chat)]).api, Api::Opaque);
    }

    #[test]
    fn only_post_bodies_are_parsed() {
        let path = || raw(":path", "/v1/completions");
        let post = parse(vec![raw(":method", "POST"), path()]);
        assert_eq!((post.api, post.bodiless_api), (Api::Completions, Api::Completions));
        let get = parse(vec![plain(":method", "GET"), path()]);
        assert_eq!((get.api, get.bodiless_api), (Api::Opaque, Api::Opaque));
        let unknown = parse(vec![path()]);
        assert_eq!((unknown.api, unknown.bodiless_api), (Api::Completions, Api::Opaque));
    }

    #[test]
    fn upgrade_to_a_web_socket_is_opaque() {
        let upgrade = |protocol| {
            parse(vec![raw(":method", "POST"), raw(":path", "/v1/completions"), raw("Upgrade", protocol)])
        };
        assert_eq!(upgrade("WebSocket").api, Api::Opaque);
        assert_eq!(upgrade("h2c").api, Api::Completions);
    }

    #[test]
    fn content_type_decides_where_only_the_model_matters() {
        let api = |path, kind, rewrite: bool| {
            let mut headers = vec![raw(":method", "POST"), raw(":path", path), raw("Content-Type", kind)];
            headers.extend(rewrite.then(|| raw("x-llm-d-model-name-rewrite", "tuned")));
            parse(headers).api
        };
        let upload = ("/v1/audio/transcriptions", "multipart/form-data; boundary=x");
        assert_eq!(api(upload.0, upload.1, false), Api::Opaque);
        assert_eq!(api(upload.0, upload.1, true), Api::ModelForm);
        assert_eq!(api("/v1/audio/speech", "application/json", false), Api::ModelJson);
        assert_eq!(api("/v1/audio/speech", "audio/wav", true), Api::Opaque);
        assert_eq!(api("/v1/chat/completions", "text/plain", false), Api::Chat);
        assert_eq!(parse(vec![raw(":method", "POST"), raw(":path", "/rerank")]).api, Api::ModelJson);
    }

    #[test]
    fn header_names_ignore_case_and_values_are_truncated() {
        let long = Box::leak("é".repeat(200).into_boxed_str());
        let read = parse(vec![raw("Content-Length", "12"), raw("X-Request-ID", long)]);
        assert_eq!(read.content_length_bytes, Some(12));
        assert_eq!(read.request_id, Some("é".repeat(MAX_REQUEST_ID_CHARS)));
        let read = parse(vec![raw("content-length", "-1")]);
        assert_eq!(read.content_length_bytes, None);
    }

    #[test]
    fn missing_request_id_is_generated() {
        let read = parse(vec![]);
        assert_eq!(Some("00000000-0000-4000-8000-000000000007"), read.generated_id());
        assert_eq!("ffffffff-ffff-4fff-bfff-ffffffffffff", uuid_v4(u128::MAX));
        let read = parse(vec![raw("x-request-id", "a")]);
        assert_eq!((Some("a"), None), (read.request_id.as_deref(), read.generated_id()));
    }

    #[test]
    fn session_token_identifies_no_session() {
        let session = |config: &Config, header: HeaderValue| {
            RequestHeaders::parse(Some(&HeaderMap { headers: vec![header] }), config, 7).session
        };
        let unset = Config::default();
        assert_eq!(session(&unset, raw("x-session-token", "cG9k")), None);
        assert_eq!(session(&unset, raw("X-Session-Id", "s")).as_deref(), Some("s"));
        let config = Config { session_token_header: Some("X-Session-Id".into()), ..Config::default() };
        assert_eq!(session(&config, raw("x-session-id", "cG9k")), None);
        assert_eq!(session(&config, raw("session_id", "s")).as_deref(), Some("s"));
    }

    #[test]
    fn decision_headers_are_kept_and_truncated() {
        let long = Box::leak("a".repeat(2_000).into_boxed_str());
        let read = parse(vec![raw("X-Session-Id", long), raw("x-other", "1")]);
        assert_eq!(read.decision_headers, [("x-session-id".to_owned(), "a".repeat(MAX_HEADER_CHARS))]);
    }
}
