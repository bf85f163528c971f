//! Splits a stream of server-sent events, regardless of its chunk boundaries.

/// Buffers bytes and returns the data of each complete event. Lines end with LF, CR or CRLF. An empty line
/// ends an event. Comments and fields other than `data` are skipped.
#[derive(Debug, Default)]
pub(crate) struct EventSplitter {
    line: Vec<u8>,
    data: Option<Vec<u8>>,
    after_cr: bool,
}

impl EventSplitter {
    /// Takes a chunk of any size and returns the data of the events that end in it.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Vec<Vec<u8>> {
        let mut events = Vec::new();
        for byte in chunk {
            let follows_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                // The second half of a CRLF, whose CR already ended the line.
                b'\n' if follows_cr => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                _ => self.line.push(*byte),
            }
        }
        events
    }

    /// Ends a line. Returns the data of an event if the line is the empty line that ends it.
    fn end_line(&mut self) -> Option<Vec<u8>> {
        if self.line.is_empty() {
            return self.data.take();
        }
        let value = match self.line.strip_prefix(b"data") {
            Some([]) => Some(&[][..]),
            Some([b':', b' ', value @ ..] | [b':', value @ ..]) => Some(value),
            Some(_) | None => None,
        };
        if let Some(value) = value {
            match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_vec()),
            }
        }
        self.line.clear();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(text: &str) -> Vec<String> {
        let events = EventSplitter::default().push(text.as_bytes());
        events.into_iter().map(|event| String::from_utf8(event).unwrap()).collect()
    }

    #[test]
    fn empty_lines_separate_events() {
        assert_eq!(split("data: a\n\ndata:b\r\n\r\ndata: c\rdata: d\r\r"), ["a", "b", "c\nd"]);
        assert_eq!(split(": ping\n\nevent: x\nid: 1\n\ndata\n\n\n\ndata:  two\n\n"), ["", " two"]);
    }

    #[test]
    fn an_event_without_an_empty_line_is_incomplete() {
        assert!(split("data: a\n").is_empty());
        assert!(split("dataset: a\n\n").is_empty());
    }

    proptest! {
        #[test]
        fn chunk_boundaries_make_no_difference(text in "(data: ?[a-z]{0,3}|[a-z:]{0,2}|\r|\n|\r\n|\n\n){0,30}", cuts in proptest::collection::vec(0_usize..100, 0..10)) {
            let mut splitter = EventSplitter::default();
            let whole = EventSplitter::default().push(text.as_bytes());
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let parts: Vec<_> =
                cuts.windows(2).flat_map(|ends| splitter.push(&text.as_bytes()[ends[0]..ends[1]])).collect();
            prop_assert_eq!(parts, whole);
        }
    }
}
