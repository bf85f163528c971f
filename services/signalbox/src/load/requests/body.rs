//! Encodes requests as bodies of the OpenAI API.

use bytes::Bytes;
use clap::ValueEnum;
use serde_json::{Value, json};
use signalbox_workload::{Author, BYTES_PER_TOKEN, Prompt, Segment, append_text};

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
    /// Whether responses have exactly as many tokens as they may, as vLLM and SGLang understand `ignore_eos`.
    pub(crate) ignore_eos: bool,
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
        let model = spec.adapter.as_ref().unwrap_or(&self.model);
        let mut body = json!({ "model": model, "max_tokens": spec.max_tokens });
        match self.api {
            Api::Chat => body["messages"] = spec.prompt.messages().map(message).collect(),
            Api::Completions => body["prompt"] = spec.prompt.text().into(),
        }
        if self.ignore_eos {
            body["ignore_eos"] = true.into();
        }
        if self.response_mode == ResponseMode::Streaming {
            body["stream"] = true.into();
            body["stream_options"] = json!({ "include_usage": true });
        }
        Bytes::from(body.to_string())
    }
}

/// Returns a message of a chat. What a tool returned is text of the user: a tool's message must answer a call.
fn message((author, segments): (Author, &[Segment])) -> Value {
    let role = match author {
        Author::System => "system",
        Author::Assistant => "assistant",
        Author::User | Author::Tool => "user",
    };
    let mut content = String::new();
    for segment in segments {
        append_text(&mut content, segment.content, segment.tokens as usize * BYTES_PER_TOKEN);
    }
    json!({ "role": role, "content": content })
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
        let segment = |author, content| Segment { author, content, tokens: 2 };
        let both = [segment(Author::System, 1), segment(Author::User, 2)];
        let mut spec = RequestSpec { prompt: Prompt::new(both), max_tokens: 5, adapter: None };
        let mut encoder = RequestEncoder {
            api: Api::Chat,
            response_mode: ResponseMode::Streaming,
            model: "m".into(),
            ignore_eos: true,
        };
        let chat = body(&encoder, &spec);
        let role = |at: usize| chat["messages"][at]["role"].as_str().unwrap();
        let content = |at: usize| chat["messages"][at]["content"].as_str().unwrap();
        assert_eq!(["system", "user"], [role(0), role(1)]);
        assert_eq!(spec.prompt.text(), format!("{}{}", content(0), content(1)));
        assert_eq!(
            (&chat["stream_options"]["include_usage"], &chat["ignore_eos"]),
            (&true.into(), &true.into())
        );
        (encoder.api, encoder.response_mode) = (Api::Completions, ResponseMode::NonStreaming);
        encoder.ignore_eos = false;
        let prompt = spec.prompt.text();
        assert_eq!(body(&encoder, &spec), json!({ "model": "m", "max_tokens": 5, "prompt": prompt }));
        encoder.api = Api::Chat;
        spec = RequestSpec { prompt: Prompt::new([both[1]]), adapter: Some("adapter-3".into()), ..spec };
        let messages = json!([{ "role": "user", "content": spec.prompt.text() }]);
        assert_eq!(
            body(&encoder, &spec),
            json!({ "model": "adapter-3", "max_tokens": 5, "messages": messages })
        );
    }
}
