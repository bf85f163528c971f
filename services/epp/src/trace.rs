//! One OpenTelemetry span per decision. What it says is written off the request path, from the recording of the decision.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value as Json;
use signalbox_extproc::request_header;
use signalbox_protos::envoy::service::ext_proc::v3::ProcessingRequest;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request;
use signalbox_schedule::{Candidate, Decision, Explanation, Policy, Recording};
use signalbox_telemetry::{Attributes, Begun, Span, SpanEvent, Tracer, Value};
use tokio::sync::{mpsc, oneshot};

/// Sampled decisions that may wait to be told. Beyond it they are dropped and counted.
const WAITING: usize = 512;

/// Tells of decisions.
#[derive(Debug)]
pub(crate) struct Tracing {
    tracer: Arc<Tracer>,
    writer: mpsc::Sender<Message>,
}

#[derive(Debug)]
enum Message {
    Decided { begun: Begun, at: SystemTime, recording: Arc<Recording> },
    Stop(oneshot::Sender<()>),
}

impl Tracing {
    /// Tells `tracer`, by a task of its own.
    pub(crate) fn start(tracer: Tracer) -> Self {
        let tracer = Arc::new(tracer);
        let (writer, messages) = mpsc::channel(WAITING);
        tokio::spawn(write(Arc::clone(&tracer), messages));
        Self { tracer, writer }
    }

    /// Begins the span of the decision about the request whose headers are in `message`, if it is wanted.
    pub(crate) fn begin(&self, message: &ProcessingRequest) -> Option<Begun> {
        matches!(message.request, Some(Request::RequestHeaders(_)))
            .then(|| self.tracer.begin(|name| request_header(message, name)))
            .flatten()
    }

    /// Has the decision told that was made at `at`.
    pub(crate) fn tell(&self, begun: Begun, at: SystemTime, recording: Arc<Recording>) {
        if self.writer.try_send(Message::Decided { begun, at, recording }).is_err() {
            self.tracer.give_up();
        }
    }

    /// Has told what waits, and ends.
    pub(crate) async fn stop(&self) {
        let (stopped, is_stopped) = oneshot::channel();
        if self.writer.send(Message::Stop(stopped)).await.is_ok() {
            // A writer that is gone has nothing more to tell.
            let _ = is_stopped.await;
        }
        Arc::clone(&self.tracer).stop().await;
    }
}

async fn write(tracer: Arc<Tracer>, mut messages: mpsc::Receiver<Message>) {
    while let Some(message) = messages.recv().await {
        match message {
            Message::Decided { begun, at, recording } => tracer.end(begun, span(at, &recording)),
            Message::Stop(stopped) => {
                // Nobody waits for it any more: that is all the same.
                let _ = stopped.send(());
                return;
            }
        }
    }
}

fn span(at: SystemTime, recording: &Recording) -> Span {
    let explanation = recording.explain();
    let mut attributes = about(recording, &explanation);
    let failure = match recording.decision {
        Decision::Picked { position, .. } => {
            attributes.extend(of_winner(recording, position, &explanation));
            None
        }
        Decision::NoEndpoint | Decision::Filtered => Some(explanation.why.clone()),
    };
    let event = SpanEvent { name: "candidates", attributes: all(&explanation.candidates) };
    Span { name: "decide", ended: at, failure, attributes, event: Some(event) }
}

/// What holds of the decision as a whole.
fn about(recording: &Recording, explanation: &Explanation) -> Attributes {
    let policy = match *recording.policy {
        Policy::LeastTime(_) => "least_time",
        Policy::Weighted(_) => "weighted",
    };
    let text = |text: &str| Value::Text(text.to_owned());
    let optional = [
        ("signalbox.request_id", recording.request_id.clone()),
        ("signalbox.view.version", explanation.version.clone()),
        ("gen_ai.request.model", Some(recording.request.model.clone()).filter(|model| !model.is_empty())),
    ];
    let always = [
        ("signalbox.policy", text(policy)),
        ("signalbox.why", text(&explanation.why)),
        ("signalbox.prompt_tokens", Value::Count(recording.request.prompt_tokens)),
        ("signalbox.prompt_blocks", Value::Count(recording.matches.total as u64)),
        ("signalbox.view.age_ms", Value::Count(recording.view_age_ms)),
        ("signalbox.replica", Value::Text(recording.local.origin.to_string())),
        ("signalbox.decision", Value::Count(recording.number)),
        ("signalbox.seed", Value::Count(recording.seed)),
    ];
    let optional = optional.into_iter().filter_map(|(name, text)| Some((name, Value::Text(text?))));
    always.into_iter().chain(optional).map(|(name, value)| (Cow::Borrowed(name), value)).collect()
}

/// The winner's terms, by the names that they have in explanations, and who came after it.
fn of_winner(recording: &Recording, position: usize, explanation: &Explanation) -> Attributes {
    let mut candidates = explanation.candidates.iter();
    let mut attributes: Attributes = candidates.next().map(fields).into_iter().flatten().collect();
    if let Some(runner_up) = candidates.find(|candidate| candidate.removed_by.is_none()) {
        attributes.push(("signalbox.runner_up".into(), Value::Text(runner_up.endpoint.clone())));
    }
    let held = recording.matches.blocks.get(position).copied().unwrap_or(0);
    attributes.push(("signalbox.match_blocks".into(), Value::Count(held as u64)));
    attributes
}

/// What an explanation says of a candidate.
fn fields(candidate: &Candidate) -> Attributes {
    let mut named = Attributes::new();
    // A candidate has text for keys and no bytes: it can always be written.
    let Ok(Json::Object(fields)) = serde_json::to_value(candidate) else { return named };
    for (name, value) in fields {
        let value = match value {
            Json::String(text) => Value::Text(text),
            Json::Number(number) => match number.as_u64() {
                Some(count) => Value::Count(count),
                None => Value::Number(number.as_f64().unwrap_or(0.0)),
            },
            _ => continue,
        };
        named.push((format!("signalbox.{name}").into(), value));
    }
    let marks = candidate.marks.iter();
    named.extend(
        marks.map(|mark| {
            (Cow::Owned(format!("signalbox.score.{}", mark.scorer)), Value::Number(mark.product))
        }),
    );
    named
}

/// All candidates, the winner first, each as the JSON object that explanations have.
fn all(candidates: &[Candidate]) -> Attributes {
    let texts = candidates.iter().filter_map(|candidate| serde_json::to_string(candidate).ok()).collect();
    vec![("signalbox.candidates".into(), Value::Texts(texts))]
}

#[cfg(test)]
mod tests {
    use signalbox_schedule::{Scorer, ScorerStep, Weighted};

    use super::*;

    const RECORDED: &str = include_str!("../../../libs/schedule/tests/recording.json");

    fn attribute<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a Value> {
        attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    #[test]
    fn scores_are_told_by_the_names_of_their_scorers() {
        let mut recording: Recording = serde_json::from_str(RECORDED).unwrap();
        let scorer = ScorerStep { name: "kv-cache".to_owned(), scorer: Scorer::KvCacheFree, weight: 2.0 };
        recording.policy =
            Arc::new(Policy::Weighted(Weighted { scorers: vec![scorer], ..Weighted::default() }));
        let told = span(SystemTime::UNIX_EPOCH, &recording);
        assert_eq!(Some(&Value::Number(1.76)), attribute(&told.attributes, "signalbox.score.kv-cache"));
        assert_eq!(Some(&Value::Number(1.76)), attribute(&told.attributes, "signalbox.total"));
        assert_eq!(
            Some(&Value::Text("weighted".to_owned())),
            attribute(&told.attributes, "signalbox.policy")
        );
        assert_eq!(None, told.failure);
    }

    #[test]
    fn a_decision_for_no_endpoint_is_a_failure_with_its_reason() {
        let mut recording: Recording = serde_json::from_str(RECORDED).unwrap();
        recording.view = Arc::default();
        recording.decision = Decision::NoEndpoint;
        let told = span(SystemTime::UNIX_EPOCH, &recording);
        assert_eq!(Some("the pool has no endpoint".to_owned()), told.failure);
        assert_eq!(None, attribute(&told.attributes, "signalbox.endpoint"));
    }
}
