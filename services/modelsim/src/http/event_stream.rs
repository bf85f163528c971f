//! A response as server-sent events.

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, BoxStream, SelectAll, Stream, StreamExt};

use super::generation::Generation;
use super::response::{FinishReason, ResponseEncoder, TextChunk, TotalUsage};
use crate::engine::Usage;
use crate::pod::{PodStopped, Stage};

/// The next text of one prompt's output; the last chunk carries the usage.
struct ChunkWithUsage {
    chunk: TextChunk,
    usage: Option<Usage>,
}

/// Returns the response that streams `events`.
pub(super) fn response(events: impl Stream<Item = Result<Bytes, PodStopped>> + Send + 'static) -> Response {
    let headers = [(CONTENT_TYPE, "text/event-stream; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(events)).into_response()
}

/// Returns all events of a response. As with vLLM nothing is sent before the first token, not even the role,
/// so that the first bytes mark the end of prefill. If the pod stops, the stream ends in an error, which
/// breaks the connection.
pub(super) fn events(
    encoder: ResponseEncoder,
    generations: Vec<Generation>,
    finish_reason: FinishReason,
) -> impl Stream<Item = Result<Bytes, PodStopped>> + Send + 'static {
    let role_events = encoder.role_events(generations.len()).concat();
    let chunk_streams = generations.into_iter().enumerate().map(|(index, generation)| {
        let chunks = ChunkStream { index, generation, sent_tokens: 0, finish_reason };
        stream::unfold(Some(chunks), ChunkStream::next).boxed()
    });
    let chunks = stream::select_all(chunk_streams);
    let events = EventStream { encoder, role_events, chunks, usage: TotalUsage::default() };
    stream::unfold(Some(events), EventStream::next)
}

struct EventStream {
    encoder: ResponseEncoder,
    /// Events that precede the first chunk.
    role_events: Vec<u8>,
    chunks: SelectAll<BoxStream<'static, Result<ChunkWithUsage, PodStopped>>>,
    usage: TotalUsage,
}

impl EventStream {
    async fn next(events: Option<Self>) -> Option<(Result<Bytes, PodStopped>, Option<Self>)> {
        let mut events = events?;
        match events.chunks.next().await {
            Some(Ok(ChunkWithUsage { chunk, usage })) => {
                if let Some(usage) = usage {
                    events.usage.add(usage);
                }
                let mut bytes = std::mem::take(&mut events.role_events);
                bytes.extend_from_slice(&events.encoder.text_event(&chunk));
                Some((Ok(bytes.into()), Some(events)))
            }
            Some(Err(stopped)) => Some((Err(stopped), None)),
            None => {
                let mut last = events.encoder.usage_event(events.usage).map(Vec::from).unwrap_or_default();
                last.extend_from_slice(&ResponseEncoder::done_event());
                Some((Ok(last.into()), None))
            }
        }
    }
}

/// The output of one prompt, cut into chunks.
struct ChunkStream {
    index: usize,
    generation: Generation,
    /// Tokens whose text has been sent.
    sent_tokens: u32,
    finish_reason: FinishReason,
}

impl ChunkStream {
    /// Returns the text produced since the previous chunk, of any length.
    async fn next(chunks: Option<Self>) -> Option<(Result<ChunkWithUsage, PodStopped>, Option<Self>)> {
        let mut chunks = chunks?;
        let progress = match chunks.generation.wait_for_tokens(chunks.sent_tokens).await {
            Ok(progress) => progress,
            Err(stopped) => return Some((Err(stopped), None)),
        };
        let text = chunks.generation.text(chunks.sent_tokens, progress.produced_tokens);
        chunks.sent_tokens = progress.produced_tokens;
        let usage = match progress.stage {
            Stage::Finished(usage) => Some(usage),
            Stage::Submitted | Stage::Accepted | Stage::Rejected(_) => None,
        };
        let chunk =
            TextChunk { index: chunks.index, text, finish_reason: usage.map(|_| chunks.finish_reason) };
        Some((Ok(ChunkWithUsage { chunk, usage }), usage.is_none().then_some(chunks)))
    }
}
