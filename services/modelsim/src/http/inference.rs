//! `/v1/completions` and `/v1/chat/completions`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::Service;
use super::error::ApiError;
use super::reply::{Bill, FinishReason, Piece, Reply, Shape};
use super::request::{self, Call, Delivery};
use super::stream;
use crate::faults::Verdict;
use crate::filler;
use crate::pod::{PodStopped, Progress, Stage, Ticket};

/// A prompt that is being answered.
pub(super) struct Answering {
    ticket: Ticket,
    /// Of the prompt: decides the words.
    pub(super) fingerprint: u64,
}

impl Answering {
    /// Waits until more than `sent` tokens are there, or the end.
    pub(super) async fn next(&mut self, sent: u32) -> Result<Progress, PodStopped> {
        let enough = |progress: &Progress| {
            progress.produced_tokens > sent || matches!(progress.stage, Stage::Finished(_))
        };
        self.ticket.wait_for(enough).await
    }
}

pub(super) async fn completions(
    State(service): State<Arc<Service>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    disturb(&service).await?;
    let call = request::completion(&service.config, &body)?;
    answer(&service, call, Shape::Completion).await
}

pub(super) async fn chat_completions(
    State(service): State<Arc<Service>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    disturb(&service).await?;
    let call = request::chat(&service.config, &body)?;
    answer(&service, call, Shape::Chat).await
}

/// Applies the faults that concern inference.
async fn disturb(service: &Service) -> Result<(), ApiError> {
    let disturbance = service.lives.present().faults.disturb();
    if !disturbance.delay.is_zero() {
        tokio::select! {
            () = tokio::time::sleep(disturbance.delay) => {}
            () = service.closing.cancelled() => return Err(ApiError::stopping()),
        }
    }
    match disturbance.verdict {
        Verdict::Serve => Ok(()),
        Verdict::Fail => Err(ApiError::injected()),
    }
}

async fn answer(service: &Service, call: Call, shape: Shape) -> Result<Response, ApiError> {
    let life = service.lives.present();
    let mut answers = Vec::with_capacity(call.prompts.len());
    for prompt in &call.prompts {
        let ticket = life.pod.submit(prompt, call.adapter, call.max_output_tokens).await?;
        answers.push(Answering { ticket, fingerprint: prompt.fingerprint });
    }
    let finish_reason =
        if call.max_output_tokens.is_some() { FinishReason::Length } else { FinishReason::Stop };
    let reply = Reply {
        shape,
        id: reply_id(service, shape, &answers),
        created_seconds: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        model: call.model,
        events_with_usage: call.delivery == Delivery::EventsWithUsage,
    };
    match call.delivery {
        Delivery::Whole => whole(&reply, answers, finish_reason).await,
        Delivery::Events | Delivery::EventsWithUsage => {
            let events = Body::from_stream(stream::events(reply, answers, finish_reason));
            let headers = [(CONTENT_TYPE, "text/event-stream; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
            Ok((headers, events).into_response())
        }
    }
}

fn reply_id(service: &Service, shape: Shape, answers: &[Answering]) -> String {
    let prefix = match shape {
        Shape::Completion => "cmpl",
        Shape::Chat => "chatcmpl",
    };
    format!("{prefix}-{}-{}", service.config.name, answers[0].ticket.id())
}

async fn whole(
    reply: &Reply,
    answers: Vec<Answering>,
    finish_reason: FinishReason,
) -> Result<Response, ApiError> {
    let mut bill = Bill::default();
    let mut pieces = Vec::with_capacity(answers.len());
    for (index, mut answer) in answers.into_iter().enumerate() {
        let usage = answer.ticket.finished().await.map_err(|PodStopped| ApiError::stopping())?;
        bill.add(usage);
        let text = filler::text(answer.fingerprint, 0, usage.output_tokens);
        pieces.push(Piece { index, text, finish_reason: Some(finish_reason) });
    }
    Ok(([(CONTENT_TYPE, "application/json")], reply.whole(&pieces, bill)).into_response())
}
