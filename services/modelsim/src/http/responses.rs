//! The endpoints below `/v1/responses`: OpenAI's API in which a request can continue an earlier response. Only the pod that
//! made a response has it.

mod body;
mod document;

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};

use super::error::ApiError;
use super::event_stream;
use super::generation::Generation;
use super::inference::apply_faults;
use crate::engine::Usage;
use crate::pod::{Incarnation, Pod, PodStopped, Stage, StoredResponse, unix_seconds};
use crate::tokenizer::{ChatMessage, encode_chat};
use body::ResponsesRequest;
use document::ResponseDocument;

pub(super) async fn create(State(pod): State<Arc<Pod>>, body: Bytes) -> Result<Response, ApiError> {
    apply_faults(&pod).await?;
    let request = ResponsesRequest::parse(&pod.config, &body)?;
    let incarnation = pod.incarnations.current();
    let mut messages = match &request.previous_response {
        Some(id) => {
            incarnation.responses.get(id).ok_or_else(|| ApiError::unknown_response(id))?.messages.clone()
        }
        None => Vec::new(),
    };
    messages.extend(request.messages);
    let model = &pod.config.model;
    let prompt = encode_chat(&pod.config.tokenizer, &request.model, &messages, model.block_size_tokens);
    let limits = (request.adapter, request.max_output_tokens);
    let generation = Generation::submit(model, &incarnation, &prompt, limits).await?;
    let document = ResponseDocument {
        id: format!("resp_{}_{}", pod.config.name, generation.request_id()),
        created_seconds: unix_seconds() as u64,
        model: request.model,
        previous_response: request.previous_response,
        is_cut_off: request.max_output_tokens.is_some(),
        prompt_tokens_details: pod.config.prompt_tokens_details,
    };
    let answer =
        Answer { incarnation, messages, document, generation, is_stored: request.is_stored, sent_tokens: 0 };
    if request.is_streamed {
        return Ok(event_stream::response(answer.into_events()));
    }
    let completed = answer.completed().await.map_err(|PodStopped| ApiError::stopping())?;
    Ok(Json(completed).into_response())
}

pub(super) async fn show(State(pod): State<Arc<Pod>>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let stored =
        pod.incarnations.current().responses.get(&id).ok_or_else(|| ApiError::unknown_response(&id))?;
    Ok(([(CONTENT_TYPE, "application/json")], stored.document.clone()).into_response())
}

pub(super) async fn delete(
    State(pod): State<Arc<Pod>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    match pod.incarnations.current().responses.delete(&id) {
        true => Ok(Json(json!({"id": id, "object": "response", "deleted": true}))),
        false => Err(ApiError::unknown_response(&id)),
    }
}

/// A response that is being generated.
struct Answer {
    incarnation: Arc<Incarnation>,
    /// What the model was shown.
    messages: Vec<ChatMessage>,
    document: ResponseDocument,
    generation: Generation,
    is_stored: bool,
    /// Tokens whose text has been sent.
    sent_tokens: u32,
}

impl Answer {
    /// Waits for the whole output; returns the response, and keeps it if the client wants that.
    async fn completed(mut self) -> Result<Value, PodStopped> {
        let usage = self.generation.finished().await?;
        Ok(self.complete(usage))
    }

    fn complete(self, usage: Usage) -> Value {
        let text = self.generation.text(0, usage.output_tokens);
        let completed = self.document.completed(&text, usage);
        if self.is_stored {
            let mut messages = self.messages;
            messages.push(ChatMessage { role: "assistant".to_owned(), text });
            let document = completed.to_string().into();
            self.incarnation.responses.store(self.document.id, StoredResponse { messages, document });
        }
        completed
    }

    /// Returns the events of the response. If the pod stops, the stream ends in an error, which breaks the connection.
    fn into_events(self) -> impl Stream<Item = Result<Bytes, PodStopped>> + Send + 'static {
        let created = event("response.created", &json!({ "response": self.document.in_progress() }));
        let rest = stream::unfold(Some(self), Self::next_event);
        stream::StreamExt::chain(stream::iter([Ok(created)]), rest)
    }

    async fn next_event(answer: Option<Self>) -> Option<(Result<Bytes, PodStopped>, Option<Self>)> {
        let mut answer = answer?;
        let progress = match answer.generation.wait_for_tokens(answer.sent_tokens).await {
            Ok(progress) => progress,
            Err(stopped) => return Some((Err(stopped), None)),
        };
        let text = answer.generation.text(answer.sent_tokens, progress.produced_tokens);
        answer.sent_tokens = progress.produced_tokens;
        let delta = event("response.output_text.delta", &json!({ "output_index": 0, "delta": text }));
        let Stage::Finished(usage) = progress.stage else { return Some((Ok(delta), Some(answer))) };
        let completed = event("response.completed", &json!({ "response": answer.complete(usage) }));
        Some((Ok([delta, completed].concat().into()), None))
    }
}

/// Returns the server-sent event `kind` with `fields`.
fn event(kind: &str, fields: &Value) -> Bytes {
    let mut data = json!({ "type": kind });
    if let (Some(data), Some(fields)) = (data.as_object_mut(), fields.as_object()) {
        data.extend(fields.clone());
    }
    format!("event: {kind}\ndata: {data}\n\n").into()
}
