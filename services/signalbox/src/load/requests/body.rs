//! Encodes requests as bodies of the OpenAI API.

use bytes::Bytes;
use clap::ValueEnum;
use serde_json::json;

use super::prompts::Prompt;

/// An API of a model server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Api {
    /// POST /v1/chat/completions
    Chat,
    /// POST /v1/completions
    Completions,
}

/// Whether a response is streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseMode {
    Streaming,
    NonStreaming,
}

/// One request, before it is encoded for an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestSpec {
    pub(crate) prompt: Prompt,
    /// Maximum number of output tokens.
    pub(crate) max_tokens: u32,
    /// Adapter to request instead of the model.
    pub(crate) adapter: Option<String>,
}

/// Encodes requests for one API and model.
#[derive(Clone, Debug)]
pub(crate) struct RequestEncoder {
    pub(crate) api: Api,
    pub(crate) response_mode: ResponseMode,
    pub(crate) model: String,
}

impl RequestEncoder {
    /// Returns the path of the API.
    pub(crate) fn path(&self) -> &'static str {
        match self.api {
            Api::Chat => "/v1/chat/completions",
            Api::Completions => "/v1/completions",
        }
    }

    /// Returns the body of a request.
    pub(crate) fn body(&self, spec: &RequestSpec) -> Bytes {
        let Prompt { shared, question } = &spec.prompt;
        let model = spec.adapter.as_ref().unwrap_or(&self.model);
        let mut body = json!({ "model": model, "max_tokens": spec.max_tokens });
        match self.api {
            Api::Chat => {
                let system = (!shared.is_empty()).then(|| json!({ "role": "system", "content": shared }));
                let user = json!({ "role": "user", "content": question });
                body["messages"] = system.into_iter().chain([user]).collect();
            }
            Api::Completions => body["prompt"] = format!("{shared}{question}").into(),
        }
        if self.response_mode == ResponseMode::Streaming {
            body["stream"] = true.into();
            body["stream_options"] = json!({ "include_usage": true });
        }
        Bytes::from(body.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn body(encoder: &RequestEncoder, spec: &RequestSpec) -> Value {
        serde_json::from_slice(&encoder.body(spec)).unwrap()
    }

    #[test]
    fn bodies_follow_the_api_and_the_response_mode() {
        let prompt = Prompt { shared: "a ".into(), question: "b".into() };
        let mut spec = RequestSpec { prompt, max_tokens: 5, adapter: None };
        let mut encoder =
            RequestEncoder { api: Api::Chat, response_mode: ResponseMode::Streaming, model: "m".into() };
        let chat = body(&encoder, &spec);
        assert_eq!(chat["messages"][0]["content"], "a ");
        assert_eq!(chat["messages"][1]["role"], "user");
        assert_eq!(chat["stream_options"]["include_usage"], true);
        encoder.api = Api::Completions;
        encoder.response_mode = ResponseMode::NonStreaming;
        assert_eq!(body(&encoder, &spec), json!({ "model": "m", "max_tokens": 5, "prompt": "a b" }));
        encoder.api = Api::Chat;
        spec.prompt.shared.clear();
        spec.adapter = Some("adapter-3".into());
        let messages = json!([{ "role": "user", "content": "b" }]);
        assert_eq!(
            body(&encoder, &spec),
            json!({ "model": "adapter-3", "max_tokens": 5, "messages": messages })
        );
    }
}
