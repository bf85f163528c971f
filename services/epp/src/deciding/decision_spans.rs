//! Exports one OpenTelemetry span per sampled decision. A task builds the span from the decision's recording,
//! off the request path.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use serde_json::Value as Json;
use signalbox_extproc::request_header;
use signalbox_protos::envoy::service::ext_proc::v3::ProcessingRequest;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request;
use signalbox_schedule::{Candidate, Decision, Explanation, Policy, Recording};
use signalbox_telemetry::{ActiveSpan, Attributes, Span, SpanEvent, Tracer, Value};
use tokio::sync::{mpsc, oneshot};

/// Capacity of the queue of sampled decisions to the span writer. Further ones are dropped and counted.
const QUEUE: usize = 512;

/// Exports spans of decisions.
#[derive(Debug)]
pub(crate) struct DecisionTracer {
    tracer: Arc<Tracer>,
    writer: mpsc::Sender<Message>,
}

#[derive(Debug)]
enum Message {
    Decided { span: ActiveSpan, at: SystemTime, recording: Arc<Recording> },
    Stop(oneshot::Sender<()>),
}

impl DecisionTracer {
    /// Starts the task that writes spans to `tracer`.
    pub(crate) fn start(tracer: Tracer) -> Self {
        let tracer = Arc::new(tracer);
        let (writer, messages) = mpsc::channel(QUEUE);
        tokio::spawn(write_spans(Arc::clone(&tracer), messages));
        Self { tracer, writer }
    }

    /// Starts the span of the decision for the request whose headers are in `message`, if it is sampled.
    pub(crate) fn start_span(&self, message: &ProcessingRequest) -> Option<ActiveSpan> {
        matches!(message.request, Some(Request::RequestHeaders(_)))
            .then(|| self.tracer.start_span("decide", |name| request_header(message, name)))
            .flatten()
    }

    /// Queues the span of a decision that was made at `at`.
    pub(crate) fn end_span(&self, span: ActiveSpan, at: SystemTime, recording: Arc<Recording>) {
        if self.writer.try_send(Message::Decided { span, at, recording }).is_err() {
            self.tracer.count_dropped();
        }
    }

    /// Exports all queued spans and stops. Those that are not exported within `timeout` are lost.
    pub(crate) async fn stop(&self, timeout: Duration) {
        let (stopped, is_stopped) = oneshot::channel();
        if self.writer.send(Message::Stop(stopped)).await.is_ok() {
            // An error means that the writer is gone, so nothing is queued.
            let _ = is_stopped.await;
        }
        Arc::clone(&self.tracer).stop(timeout).await;
    }
}

async fn write_spans(tracer: Arc<Tracer>, mut messages: mpsc::Receiver<Message>) {
    while let Some(message) = messages.recv().await {
        match message {
            Message::Decided { span, at, recording } => tracer.end_span(span, span_of(at, &recording)),
            Message::Stop(stopped) => {
                // The receiver may be gone; nobody waits then.
                let _ = stopped.send(());
                return;
            }
        }
    }
}

fn span_of(at: SystemTime, recording: &Recording) -> Span {
    let explanation = recording.explain();
    let mut attributes = decision_attributes(recording, &explanation);
    let failure = match recording.decision {
        Decision::Picked { position, .. } => {
            attributes.extend(winner_attributes(recording, position, &explanation));
            None
        }
        Decision::NoEndpoint | Decision::Filtered => Some(explanation.why.clone()),
    };
    let event = SpanEvent { name: "candidates", attributes: candidate_list(&explanation.candidates) };
    Span { ended: at, failure, attributes, event: Some(event) }
}

/// Returns the attributes of the decision as a whole.
fn decision_attributes(recording: &Recording, explanation: &Explanation) -> Attributes {
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
    let waited = recording.waited.iter().flat_map(|waited| {
        [
            ("signalbox.waited_ms", Value::Count(waited.ms)),
            ("signalbox.waited", Value::Text(waited.to_string())),
        ]
    });
    let optional = optional.into_iter().filter_map(|(name, text)| Some((name, Value::Text(text?))));
    always
        .into_iter()
        .chain(waited)
        .chain(optional)
        .map(|(name, value)| (Cow::Borrowed(name), value))
        .collect()
}

/// Returns the winner's terms under their names in explanations, and the runner-up.
fn winner_attributes(recording: &Recording, position: usize, explanation: &Explanation) -> Attributes {
    let mut candidates = explanation.candidates.iter();
    let mut attributes: Attributes =
        candidates.next().map(candidate_attributes).into_iter().flatten().collect();
    if let Some(runner_up) = candidates.find(|candidate| candidate.removed_by.is_none()) {
        attributes.push(("signalbox.runner_up".into(), Value::Text(runner_up.endpoint.clone())));
    }
    let held = recording.matches.blocks.get(position).copied().unwrap_or(0);
    attributes.push(("signalbox.match_blocks".into(), Value::Count(held as u64)));
    attributes
}

/// Returns the fields of a candidate in an explanation as attributes.
fn candidate_attributes(candidate: &Candidate) -> Attributes {
    let mut named = Attributes::new();
    // A candidate has string keys and no bytes, so serialization cannot fail.
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
    let marks = candidate.scores.iter();
    named.extend(
        marks.map(|mark| {
            (Cow::Owned(format!("signalbox.score.{}", mark.scorer)), Value::Number(mark.product))
        }),
    );
    named
}

/// Returns all candidates, the winner first, each as its JSON object in explanations.
fn candidate_list(candidates: &[Candidate]) -> Attributes {
    let texts = candidates.iter().filter_map(|candidate| serde_json::to_string(candidate).ok()).collect();
    vec![("signalbox.candidates".into(), Value::Texts(texts))]
}

#[cfg(test)]
mod tests {
    use signalbox_schedule::{Scorer, ScorerStep, Waited, Weighted};

    use super::*;

    const RECORDED: &str = include_str!("../../../../libs/schedule/tests/recording.json");

    fn attribute<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a Value> {
        attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    #[test]
    fn span_tells_how_long_the_request_waited_and_behind_whom() {
        let mut recording: Recording = serde_json::from_str(RECORDED).unwrap();
        let waited_ms = |recording: &Recording| {
            attribute(&span_of(SystemTime::now(), recording).attributes, "signalbox.waited_ms").cloned()
        };
        assert_eq!(None, waited_ms(&recording));
        recording.waited = Some(Waited { ms: 40, behind_priority: Some(2), behind_requests: 3 });
        assert_eq!(Some(Value::Count(40)), waited_ms(&recording));
        let span = span_of(SystemTime::now(), &recording);
        let waited = format!("{:?}", attribute(&span.attributes, "signalbox.waited"));
        assert!(waited.contains("behind requests of priority 2"), "{waited}");
    }

    #[test]
    fn span_names_scores_after_their_scorers() {
        let mut recording: Recording = serde_json::from_str(RECORDED).unwrap();
        let scorer = ScorerStep { name: "kv-cache".to_owned(), scorer: Scorer::KvCacheFree, weight: 2.0 };
        recording.policy =
            Arc::new(Policy::Weighted(Weighted { scorers: vec![scorer], ..Weighted::default() }));
        let span = span_of(SystemTime::UNIX_EPOCH, &recording);
        assert_eq!(Some(&Value::Number(1.76)), attribute(&span.attributes, "signalbox.score.kv-cache"));
        assert_eq!(Some(&Value::Number(1.76)), attribute(&span.attributes, "signalbox.total"));
        assert_eq!(
            Some(&Value::Text("weighted".to_owned())),
            attribute(&span.attributes, "signalbox.policy")
        );
        assert_eq!(None, span.failure);
    }

    #[test]
    fn decision_without_endpoint_is_a_failed_span_with_its_reason() {
        let mut recording: Recording = serde_json::from_str(RECORDED).unwrap();
        recording.view = Arc::default();
        recording.decision = Decision::NoEndpoint;
        let span = span_of(SystemTime::UNIX_EPOCH, &recording);
        assert_eq!(Some("the pool has no endpoints".to_owned()), span.failure);
        assert_eq!(None, attribute(&span.attributes, "signalbox.endpoint"));
    }
}
