//! Reads a recorded workload from a file in the Mooncake trace format.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use signalbox_workload::{Item, arrivals, trace};

use crate::input::Input;

/// Returns the first `limit` requests of a file, replayed `speed` times as fast (above 0). The first starts
/// at time 0.
///
/// # Errors
/// An error with the file and the line, when the file cannot be read, has no requests or has an invalid
/// line.
pub(crate) fn read(file: &Input, speed: f64, limit: Option<u64>) -> anyhow::Result<Arc<[Item]>> {
    let text = file.read_text()?;
    let mut items = trace::parse(&text).with_context(|| file.to_string())?;
    items.truncate(limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)));
    ensure!(!items.is_empty(), "{file}: the trace has no requests");
    arrivals::speed_up(&mut items, speed);
    Ok(items.into())
}

/// Returns when each request is sent, relative to the first.
pub(crate) fn offsets(items: &[Item]) -> Arc<[Duration]> {
    items.iter().map(|item| Duration::from_micros(item.at_us)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::path::Path;

    use tempfile::NamedTempFile;

    const LINES: [&str; 3] = [
        r#"{"timestamp": 1000, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}"#,
        r#"{"timestamp": 1000, "input_length": 512, "output_length": 6, "hash_ids": [0]}"#,
        r#"{"timestamp": 4000, "input_length": 700, "output_length": 7, "hash_ids": [0, 2]}"#,
    ];

    fn file(text: &str) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn speed_and_limit_are_applied_and_the_first_request_is_sent_at_once() {
        let file = file(&LINES.join("\n"));
        let input = Input::File(file.path().to_owned());
        let items = read(&input, 2.0, None).unwrap();
        let expected = [0, 0, 1_500].map(Duration::from_millis);
        assert_eq!(offsets(&items)[..], expected);
        assert_eq!(items[0].prompt.text()[..2_048], items[1].prompt.text());
        assert_eq!(read(&input, 1.0, Some(1)).unwrap().len(), 1);
        assert_eq!(read(&input, f64::MIN_POSITIVE, Some(9)).unwrap().len(), 3);
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        let problem =
            |path: &Path| format!("{:#}", read(&Input::File(path.to_owned()), 1.0, None).unwrap_err());
        let cut = file(&format!("{}\n{{\"timestamp\": 2000", LINES[0]));
        let expected = format!("{}: line 2: EOF while parsing", cut.path().display());
        assert!(problem(cut.path()).starts_with(&expected), "{}", problem(cut.path()));
        let empty = file("\n");
        assert!(problem(empty.path()).ends_with(": the trace has no requests"));
        assert!(problem(Path::new("no/such.jsonl")).starts_with("cannot read no/such.jsonl: "));
    }
}
