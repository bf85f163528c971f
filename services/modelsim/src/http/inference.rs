//! The endpoints `/v1/completions` and `/v1/chat/completions`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::event_stream;
use super::generation::Generation;
use super::request::{self, InferenceRequest, ResponseMode};
use super::response::{Api, FinishReason, ResponseEncoder, TextChunk, TotalUsage};
use crate::pod::{FaultOutcome, Pod, PodStopped, unix_seconds};

pub(super) async fn completions(State(pod): State<Arc<Pod>>, body: Bytes) -> Result<Response, ApiError> {
    apply_faults(&pod).await?;
    let request = request::parse_completion(&pod.config, &body)?;
    respond(&pod, request, Api::Completion).await
}

pub(super) async fn chat_completions(State(pod): State<Arc<Pod>>, body: Bytes) -> Result<Response, ApiError> {
    apply_faults(&pod).await?;
    let request = request::parse_chat(&pod.config, &body)?;
    respond(&pod, request, Api::Chat).await
}

/// Applies the faults that concern inference: latency and errors.
pub(super) async fn apply_faults(pod: &Pod) -> Result<(), ApiError> {
    let fault = pod.incarnations.current().faults.next_inference_fault();
    if !fault.delay.is_zero() {
        tokio::select! {
            () = tokio::time::sleep(fault.delay) => {}
            () = pod.draining.cancelled() => return Err(ApiError::stopping()),
        }
    }
    match fault.outcome {
        FaultOutcome::Serve => Ok(()),
        FaultOutcome::Fail => Err(ApiError::injected()),
    }
}

async fn respond(pod: &Pod, request: InferenceRequest, api: Api) -> Result<Response, ApiError> {
    let incarnation = pod.incarnations.current();
    let mut generations = Vec::with_capacity(request.prompts.len());
    for prompt in &request.prompts {
        let limits = (request.adapter, request.max_output_tokens);
        generations.push(Generation::submit(&pod.config.model, &incarnation, prompt, limits).await?);
    }
    let finish_reason =
        if request.max_output_tokens.is_some() { FinishReason::Length } else { FinishReason::Stop };
    let encoder = ResponseEncoder {
        api,
        id: response_id(pod, api, &generations),
        created_seconds: unix_seconds() as u64,
        model: request.model,
        prompt_tokens_details: pod.config.prompt_tokens_details,
        events_with_usage: request.mode == ResponseMode::EventsWithUsage,
    };
    match request.mode {
        ResponseMode::Document => document(&encoder, generations, finish_reason).await,
        ResponseMode::Events | ResponseMode::EventsWithUsage => {
            Ok(event_stream::response(event_stream::events(encoder, generations, finish_reason)))
        }
    }
}

fn response_id(pod: &Pod, api: Api, generations: &[Generation]) -> String {
    let prefix = match api {
        Api::Completion => "cmpl",
        Api::Chat => "chatcmpl",
    };
    format!("{prefix}-{}-{}", pod.config.name, generations[0].request_id())
}

/// Waits for the whole output of all prompts and responds with one JSON document.
async fn document(
    encoder: &ResponseEncoder,
    generations: Vec<Generation>,
    finish_reason: FinishReason,
) -> Result<Response, ApiError> {
    let mut total = TotalUsage::default();
    let mut chunks = Vec::with_capacity(generations.len());
    for (index, mut generation) in generations.into_iter().enumerate() {
        let usage = generation.finished().await.map_err(|PodStopped| ApiError::stopping())?;
        total.add(usage);
        let text = generation.text(0, usage.output_tokens);
        chunks.push(TextChunk { index, text, finish_reason: Some(finish_reason) });
    }
    Ok(([(CONTENT_TYPE, "application/json")], encoder.document(&chunks, total)).into_response())
}
