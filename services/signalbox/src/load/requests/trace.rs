//! Reads a recorded workload from a file in the Mooncake trace format.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use signalbox_workload::{Item, arrivals, trace};

/// Returns the first `limit` requests of a file, replayed `speed` times as fast (above 0). The first starts
/// at time 0.
///
/// # Errors
/// A message with the file and the line, when the file cannot be read, has no requests or has an invalid
/// line.
pub(crate) fn read(path: &Path, speed: f64, limit: Option<u64>) -> Result<Arc<[Item]>, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let mut items = trace::parse(&text).map_err(|error| format!("{shown}: {error}"))?;
    items.truncate(limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)));
    if items.is_empty() {
        return Err(format!("{shown}: the trace has no requests"));
    }
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
        let items = read(file.path(), 2.0, None).unwrap();
        let expected = [0, 0, 1_500].map(Duration::from_millis);
        assert_eq!(offsets(&items)[..], expected);
        assert_eq!(items[0].prompt.text()[..2_048], items[1].prompt.text());
        assert_eq!(read(file.path(), 1.0, Some(1)).unwrap().len(), 1);
        assert_eq!(read(file.path(), f64::MIN_POSITIVE, Some(9)).unwrap().len(), 3);
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        let problem = |path: &Path| read(path, 1.0, None).unwrap_err();
        let cut = file(&format!("{}\n{{\"timestamp\": 2000", LINES[0]));
        let expected = format!("{}: line 2: EOF while parsing", cut.path().display());
        assert!(problem(cut.path()).starts_with(&expected), "{}", problem(cut.path()));
        let empty = file("\n");
        assert!(problem(empty.path()).ends_with(": the trace has no requests"));
        assert!(problem(Path::new("no/such.jsonl")).starts_with("cannot read no/such.jsonl: "));
    }
}
