//! A reply as server-sent events.

use axum::body::Bytes;
use futures_util::stream::{self, BoxStream, SelectAll, Stream, StreamExt};

use super::inference::Answering;
use super::reply::{Bill, FinishReason, Piece, Reply};
use crate::engine::Usage;
use crate::filler;
use crate::pod::{PodStopped, Stage};

/// The next words of one answer, and its cost with the last of them.
struct Progressed {
    piece: Piece,
    usage: Option<Usage>,
}

/// All events of a reply. As with vLLM nothing comes before the first token, not even the role; so the first bytes tell when the prompt
/// was processed. It ends in an error, which cuts the connection, when the pod stops before.
pub(super) fn events(
    reply: Reply,
    answers: Vec<Answering>,
    finish_reason: FinishReason,
) -> impl Stream<Item = Result<Bytes, PodStopped>> + Send + 'static {
    let opening = reply.opening(answers.len()).concat();
    let outgoing = answers.into_iter().enumerate().map(|(index, answer)| {
        let outgoing = Outgoing { index, answer, sent_tokens: 0, finish_reason };
        stream::unfold(Some(outgoing), Outgoing::next).boxed()
    });
    let pieces = stream::select_all(outgoing);
    let body = Body { reply, opening, pieces, bill: Bill::default() };
    stream::unfold(Some(body), Body::next)
}

struct Body {
    reply: Reply,
    /// What goes with the first piece.
    opening: Vec<u8>,
    pieces: SelectAll<BoxStream<'static, Result<Progressed, PodStopped>>>,
    bill: Bill,
}

impl Body {
    async fn next(body: Option<Self>) -> Option<(Result<Bytes, PodStopped>, Option<Self>)> {
        let mut body = body?;
        match body.pieces.next().await {
            Some(Ok(Progressed { piece, usage })) => {
                if let Some(usage) = usage {
                    body.bill.add(usage);
                }
                let mut bytes = std::mem::take(&mut body.opening);
                bytes.extend_from_slice(&body.reply.piece(&piece));
                Some((Ok(bytes.into()), Some(body)))
            }
            Some(Err(stopped)) => Some((Err(stopped), None)),
            None => {
                let mut last = body.reply.bill(body.bill).map(Vec::from).unwrap_or_default();
                last.extend_from_slice(&Reply::done());
                Some((Ok(last.into()), None))
            }
        }
    }
}

/// One answer on its way out.
struct Outgoing {
    index: usize,
    answer: Answering,
    /// Tokens whose words are out.
    sent_tokens: u32,
    finish_reason: FinishReason,
}

impl Outgoing {
    /// The words produced since the last piece, however many.
    async fn next(outgoing: Option<Self>) -> Option<(Result<Progressed, PodStopped>, Option<Self>)> {
        let mut outgoing = outgoing?;
        let progress = match outgoing.answer.next(outgoing.sent_tokens).await {
            Ok(progress) => progress,
            Err(stopped) => return Some((Err(stopped), None)),
        };
        let text = filler::text(outgoing.answer.fingerprint, outgoing.sent_tokens, progress.produced_tokens);
        outgoing.sent_tokens = progress.produced_tokens;
        let usage = match progress.stage {
            Stage::Finished(usage) => Some(usage),
            Stage::Submitted | Stage::Accepted | Stage::Rejected(_) => None,
        };
        let piece =
            Piece { index: outgoing.index, text, finish_reason: usage.map(|_| outgoing.finish_reason) };
        Some((Ok(Progressed { piece, usage }), usage.is_none().then_some(outgoing)))
    }
}
