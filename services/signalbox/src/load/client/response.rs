//! Reads responses with the reader that the picker uses.

use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::IgnoredAny;
use signalbox_intake::Api;
use signalbox_intake::response::{ResponseFormat, ResponseReader};
use tokio::time::Instant;

use crate::load::results::outcome::{Failure, Measurement, Outcome};

/// Reads a document to its end.
pub(super) async fn read_document(response: Response<Incoming>) -> Outcome {
    let body = response.into_body().collect().await.map_err(|_| Failure::Transport)?.to_bytes();
    document(&body)
}

fn document(body: &[u8]) -> Outcome {
    let mut reader = reader(ResponseFormat::Json);
    reader.push(body);
    reader.end();
    if reader.error().is_some() {
        return Err(Failure::InResponse);
    }
    match serde_json::from_slice::<Answer>(body) {
        Ok(answer) if !answer.choices.is_empty() => {
            Ok(Measurement { usage: reader.usage(), ..Measurement::default() })
        }
        _ => Err(Failure::InvalidResponse),
    }
}

/// What every answer of either API has.
#[derive(Deserialize)]
struct Answer {
    choices: Vec<IgnoredAny>,
}

/// Reads a stream of events to its end. Times count from `due`.
pub(super) async fn read_stream(response: Response<Incoming>, due: Instant) -> Outcome {
    let mut body = response.into_body();
    let mut stream = MeasuredStream::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::Transport)?;
        if let Some(piece) = frame.data_ref() {
            stream.push(piece, due.elapsed())?;
        }
    }
    stream.end()
}

/// A stream of events whose outputs are timed.
struct MeasuredStream {
    reader: ResponseReader,
    measurement: Measurement,
    /// When the latest output arrived, since the request was due.
    latest: Duration,
}

impl MeasuredStream {
    fn new() -> Self {
        Self {
            reader: reader(ResponseFormat::EventStream).reading_every_event(),
            measurement: Measurement::default(),
            latest: Duration::ZERO,
        }
    }

    /// Reads a piece that arrived at `now`.
    fn push(&mut self, piece: &[u8], now: Duration) -> Result<(), Failure> {
        let before = self.reader.outputs();
        self.reader.push(piece);
        if self.reader.error().is_some() {
            return Err(Failure::InResponse);
        }
        for _ in before..self.reader.outputs() {
            match self.measurement.ttft {
                None => self.measurement.ttft = Some(now),
                Some(_) => self.measurement.gaps.push(now.saturating_sub(self.latest)),
            }
            self.latest = now;
        }
        Ok(())
    }

    fn end(mut self) -> Outcome {
        self.reader.end();
        if !self.reader.is_done() {
            return Err(Failure::Incomplete);
        }
        Ok(Measurement { usage: self.reader.usage(), ..self.measurement })
    }
}

/// Returns a reader of responses of either API: they report usage and output alike.
fn reader(format: ResponseFormat) -> ResponseReader {
    ResponseReader::new(Api::Chat, format).expect("responses of this API can be read in both formats")
}

#[cfg(test)]
mod tests {
    use signalbox_intake::response::Usage;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Reads a stream of pieces, each with the time at which it arrives, in milliseconds.
    fn stream(pieces: &[(&str, u64)]) -> Outcome {
        let mut stream = MeasuredStream::new();
        for (piece, at_ms) in pieces {
            stream.push(piece.as_bytes(), ms(*at_ms))?;
        }
        stream.end()
    }

    fn delta(fields: &str) -> String {
        format!("data: {{\"choices\":[{{\"delta\":{{{fields}}}}}]}}\n\n")
    }

    #[test]
    fn reasoning_and_tool_calls_are_outputs() {
        for first in [
            r#""content":"x""#,
            r#""reasoning_content":"x""#,
            r#""reasoning":"x""#,
            r#""tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]"#,
        ] {
            let pieces = [
                (delta(r#""role":"assistant","content":"""#), 5),
                (delta(first), 10),
                (delta(r#""content":"y""#), 25),
                ("data: [DONE]\n\n".to_owned(), 30),
            ];
            let pieces: Vec<_> = pieces.iter().map(|(text, at_ms)| (text.as_str(), *at_ms)).collect();
            let measured = stream(&pieces).unwrap();
            assert_eq!((Some(ms(10)), vec![ms(15)]), (measured.ttft, measured.gaps), "{first}");
        }
    }

    #[test]
    fn outputs_of_one_piece_have_no_gap_and_a_split_event_counts_when_it_ends() {
        let two = delta(r#""content":"x""#).repeat(2);
        let (start, end) = two.split_at(two.len() - 2);
        let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\r\n\r\n";
        let measured =
            stream(&[(&two, 4), (start, 10), (end, 12), (usage, 13), ("data: [DONE]", 14)]).unwrap();
        assert_eq!((Some(ms(4)), vec![ms(0), ms(6), ms(2)]), (measured.ttft, measured.gaps));
        let expected = Usage { prompt_tokens: Some(9), completion_tokens: Some(3), cached_tokens: None };
        assert_eq!(Some(expected), measured.usage);
    }

    #[test]
    fn stream_that_ends_early_or_reports_an_error_fails() {
        let output = delta(r#""content":"x""#);
        assert_eq!(Err(Failure::Incomplete), stream(&[(&output, 1)]));
        assert_eq!(Err(Failure::Incomplete), stream(&[("<html>\n", 1)]));
        assert_eq!(
            Err(Failure::InResponse),
            stream(&[(&output, 1), ("data: {\"error\":{\"message\":\"m\"}}\n\n", 2)])
        );
    }

    #[test]
    fn documents_are_complete_json_with_choices_and_without_an_error() {
        let usage = document(br#"{"choices":[{"text":"x"}],"usage":{"prompt_tokens":9}}"#).unwrap().usage;
        assert_eq!(Some(9), usage.unwrap().prompt_tokens);
        assert_eq!(Err(Failure::InResponse), document(br#"{"error":{"message":"m"}}"#));
        for invalid in
            ["<html></html>", "{\"choices\":[", "", "{}", "[]", "{\"choices\":[]}", "{\"data\":[1]}"]
        {
            assert_eq!(Err(Failure::InvalidResponse), document(invalid.as_bytes()), "{invalid}");
        }
    }
}
