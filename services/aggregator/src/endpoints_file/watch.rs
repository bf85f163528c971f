//! Reloads the endpoints file when it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use signalbox_document::{ReadError, parse_bytes, read_bytes};
use signalbox_types::PageSettings;

use super::{Parsed, parse};

/// Reads the file at `path` at each `interval`, as [`parse`] does with `defaults`, and calls `on_change` when its
/// contents, valid or not, have changed. The first call has the contents at the start, so that no change since an
/// earlier [`read`](super::read) is missed. A file that disappears is reported once, and again when it reappears.
///
/// Only the contents that `path` leads to matter, so files can be replaced and symbolic links swapped. A
/// change counts when two reads in a row agree, so that a partly written file is not mistaken for a complete
/// one.
///
/// Objects that reference other pools are logged, once per change.
///
/// Never returns: drop the future or abort its task.
pub async fn watch<F>(path: PathBuf, interval: Duration, defaults: PageSettings, mut on_change: F)
where
    F: FnMut(Result<Parsed, ReadError>) + Send + 'static,
{
    let path: Arc<Path> = path.into();
    let mut history = History::default();
    loop {
        let read_path = Arc::clone(&path);
        // This fails only while the runtime shuts down.
        let Ok(found) = tokio::task::spawn_blocking(move || read_bytes(&read_path)).await else { return };
        if history.record(Observation::new(&found)) == Change::Settled {
            let read = found.and_then(|bytes| parse_bytes(&path, &bytes, |text| parse(text, &defaults)));
            on_change(read.inspect(|parsed| log_ignored(&path, parsed)));
        }
        tokio::time::sleep(interval).await;
    }
}

fn log_ignored(path: &Path, parsed: &Parsed) {
    for ignored in &parsed.ignored {
        tracing::warn!(
            file = %path.display(), pool = %parsed.spec.id, %ignored,
            "ignoring an object in the endpoints file because it references another pool"
        );
    }
}

/// The result of reading the file, as far as it is compared with others.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Observation {
    Content(Vec<u8>),
    Failed(String),
}

impl Observation {
    fn new(found: &Result<Vec<u8>, ReadError>) -> Self {
        match found {
            Ok(bytes) => Self::Content(bytes.clone()),
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

/// What an observation means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// The file has changed and settled.
    Settled,
    /// Nothing to report.
    None,
}

/// The observations so far.
#[derive(Debug, Default)]
struct History {
    last: Option<Observation>,
    reported: Option<Observation>,
}

impl History {
    fn record(&mut self, observation: Observation) -> Change {
        let is_settled = self.last.as_ref() == Some(&observation);
        let is_reported = self.reported.as_ref() == Some(&observation);
        if is_settled && !is_reported {
            self.reported = Some(observation);
            return Change::Settled;
        }
        if !is_settled {
            self.last = Some(observation);
        }
        Change::None
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;
    use tokio::sync::mpsc;

    use super::*;

    const INTERVAL: Duration = Duration::from_millis(2);

    fn file(endpoints: usize) -> String {
        let mut text =
            "apiVersion: signalbox/v1\nkind: Endpoints\npool: { name: p }\nendpoints:\n".to_owned();
        (1..=endpoints).for_each(|n| text += &format!("- {{ name: pod-{n}, address: 127.0.0.1:{n} }}\n"));
        text
    }

    /// Watches `path`. Receives the number of endpoints, or the error, of each change.
    fn changes_of(path: PathBuf) -> mpsc::UnboundedReceiver<Result<usize, ReadError>> {
        let (sender, changes) = mpsc::unbounded_channel();
        tokio::spawn(watch(path, INTERVAL, PageSettings::default(), move |read| {
            let _ = sender.send(read.map(|parsed| parsed.spec.endpoints.len()));
        }));
        changes
    }

    #[tokio::test]
    async fn replaced_file_is_reported_valid_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let (path, new) = (folder.path().join("endpoints.yaml"), folder.path().join("new"));
        let replace = |text: &str| {
            fs::write(&new, text).unwrap();
            fs::rename(&new, &path).unwrap();
        };
        replace(&file(1));
        let mut changes = changes_of(path.clone());
        assert_eq!(changes.recv().await.unwrap().unwrap(), 1);
        replace(&file(2));
        assert_eq!(changes.recv().await.unwrap().unwrap(), 2);
        replace("kind: Pod");
        assert!(matches!(changes.recv().await.unwrap(), Err(ReadError::Invalid { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(changes.recv().await.unwrap(), Err(ReadError::Io { .. })));
        replace(&file(3));
        assert_eq!(changes.recv().await.unwrap().unwrap(), 3);
    }

    #[tokio::test]
    async fn symbolic_links_can_be_swapped_as_kubernetes_does() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for n in [1, 2] {
            fs::create_dir(at(&format!("..{n}"))).unwrap();
            fs::write(at(&format!("..{n}/endpoints.yaml")), file(n)).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/endpoints.yaml", at("endpoints.yaml")).unwrap();
        let mut changes = changes_of(at("endpoints.yaml"));
        assert_eq!(changes.recv().await.unwrap().unwrap(), 1);
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!(changes.recv().await.unwrap().unwrap(), 2);
    }

    fn observation() -> impl Strategy<Value = Observation> {
        prop_oneof![
            (0..3_u8).prop_map(|byte| Observation::Content(vec![byte])),
            Just(Observation::Failed("gone".to_owned())),
        ]
    }

    proptest! {
        #[test]
        fn settled_contents_are_reported_once(observations in prop::collection::vec(observation(), 0..40)) {
            let mut history = History::default();
            let mut reported: Vec<Observation> = Vec::new();
            let mut before: Option<&Observation> = None;
            for observation in &observations {
                if history.record(observation.clone()) == Change::Settled {
                    prop_assert_ne!(reported.last(), Some(observation));
                    prop_assert_eq!(before, Some(observation));
                    reported.push(observation.clone());
                }
                if before == Some(observation) {
                    prop_assert_eq!(reported.last(), Some(observation));
                }
                before = Some(observation);
            }
        }
    }
}
