//! What is sent: the body of each request.

use bytes::Bytes;
use serde_json::json;

use super::args::{Api, Delivery};
use super::workload::Prompt;

/// One request, before it is put into words of an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) prompt: Prompt,
    /// Tokens of the answer.
    pub(super) max_tokens: u32,
    /// The adapter to ask, instead of the model.
    pub(super) adapter: Option<String>,
}

/// How requests are put.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pub(super) api: Api,
    pub(super) delivery: Delivery,
    pub(super) model: String,
}

impl Asking {
    /// The path of the API.
    pub(super) fn path(&self) -> &'static str {
        match self.api {
            Api::Chat => "/v1/chat/completions",
            Api::Completions => "/v1/completions",
        }
    }

    /// The request's body.
    pub(super) fn body(&self, ask: &Ask) -> Bytes {
        let Prompt { shared, question } = &ask.prompt;
        let model = ask.adapter.as_ref().unwrap_or(&self.model);
        let mut body = json!({ "model": model, "max_tokens": ask.max_tokens });
        match self.api {
            Api::Chat => {
                let system = (!shared.is_empty()).then(|| json!({ "role": "system", "content": shared }));
                let user = json!({ "role": "user", "content": question });
                body["messages"] = system.into_iter().chain([user]).collect();
            }
            Api::Completions => body["prompt"] = format!("{shared}{question}").into(),
        }
        if self.delivery == Delivery::Streamed {
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

    fn body(asking: &Asking, ask: &Ask) -> Value {
        serde_json::from_slice(&asking.body(ask)).unwrap()
    }

    #[test]
    fn bodies_are_what_the_api_wants() {
        let prompt = Prompt { shared: "a ".into(), question: "b".into() };
        let mut ask = Ask { prompt, max_tokens: 5, adapter: None };
        let mut asking = Asking { api: Api::Chat, delivery: Delivery::Streamed, model: "m".into() };
        let chat = body(&asking, &ask);
        assert_eq!(chat["messages"][0]["content"], "a ");
        assert_eq!(chat["messages"][1]["role"], "user");
        assert_eq!(chat["stream_options"]["include_usage"], true);
        asking.api = Api::Completions;
        asking.delivery = Delivery::Whole;
        assert_eq!(body(&asking, &ask), json!({ "model": "m", "max_tokens": 5, "prompt": "a b" }));
        asking.api = Api::Chat;
        ask.prompt.shared.clear();
        ask.adapter = Some("adapter-3".into());
        let messages = json!([{ "role": "user", "content": "b" }]);
        assert_eq!(
            body(&asking, &ask),
            json!({ "model": "adapter-3", "max_tokens": 5, "messages": messages })
        );
    }
}
