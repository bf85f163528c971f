//! A recorded workload: a file in Mooncake's format.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use signalbox_workload::{Item, arrivals, trace};

/// The first `most` requests of a file, `speed` (above 0) times as fast, the first of them at once.
///
/// # Errors
/// In words, with the file and the line, when it cannot be read or has a line that is no request.
pub(super) fn read(path: &Path, speed: f64, most: Option<u64>) -> Result<Arc<[Item]>, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let mut items = trace::parse(&text).map_err(|error| format!("{shown}: {error}"))?;
    items.truncate(most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX)));
    if items.is_empty() {
        return Err(format!("{shown}: there is no request in it"));
    }
    arrivals::speed_up(&mut items, speed);
    Ok(items.into())
}

/// When each is sent, after the first.
pub(super) fn moments(items: &[Item]) -> Arc<[Duration]> {
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
    fn speed_and_number_are_kept_and_the_first_is_sent_at_once() {
        let file = file(&LINES.join("\n"));
        let items = read(file.path(), 2.0, None).unwrap();
        let expected = [0, 0, 1_500].map(Duration::from_millis);
        assert_eq!(moments(&items)[..], expected);
        assert_eq!(items[0].prompt.text()[..2_048], items[1].prompt.text());
        assert_eq!(read(file.path(), 1.0, Some(1)).unwrap().len(), 1);
        assert_eq!(read(file.path(), f64::MIN_POSITIVE, Some(9)).unwrap().len(), 3);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        let problem = |path: &Path| read(path, 1.0, None).unwrap_err();
        let cut = file(&format!("{}\n{{\"timestamp\": 2000", LINES[0]));
        let expected = format!("{}: line 2: EOF while parsing", cut.path().display());
        assert!(problem(cut.path()).starts_with(&expected), "{}", problem(cut.path()));
        let empty = file("\n");
        assert!(problem(empty.path()).ends_with(": there is no request in it"));
        assert!(problem(Path::new("no/such.jsonl")).starts_with("cannot read no/such.jsonl: "));
    }
}
