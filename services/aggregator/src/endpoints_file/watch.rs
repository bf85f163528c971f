//! The file again, whenever it has changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use signalbox_document::{ReadError, decode, load};
use signalbox_types::PoolSpec;

use super::{Parsed, parse};

/// Looks at the file at `path` again and again, `every` so often, and tells `on_change` what it holds: first what is
/// there at the start, so that no change since an earlier [`read`](super::read) is missed, then each time that it
/// holds something else, good or bad. A file that has gone is told once; when it comes back, it is told again.
///
/// What counts is the content that `path` leads to, so symbolic links may be swapped and files replaced. It counts
/// once two looks in a row agree, lest a half written file be taken for a whole one.
///
/// Objects in it that are about other pools are logged, once for each content.
///
/// Never ends by itself: drop it, or abort its task.
pub async fn watch<F>(path: PathBuf, every: Duration, mut on_change: F)
where
    F: FnMut(Result<PoolSpec, ReadError>) + Send + 'static,
{
    let path: Arc<Path> = path.into();
    let mut history = History::default();
    loop {
        let looked_at = Arc::clone(&path);
        // Only a runtime that shuts down gives up the look.
        let Ok(found) = tokio::task::spawn_blocking(move || load(&looked_at)).await else { return };
        if history.step(Look::of(&found)) == News::Changed {
            let read = found.and_then(|bytes| decode(&path, &bytes, parse));
            on_change(read.map(|parsed| remarked(&path, parsed)));
        }
        tokio::time::sleep(every).await;
    }
}

/// The pool in `parsed`, and what is ignored in the log.
fn remarked(path: &Path, parsed: Parsed) -> PoolSpec {
    let Parsed { spec, ignored } = parsed;
    for ignored in ignored {
        tracing::warn!(file = %path.display(), pool = %spec.id, %ignored, "an object in the endpoints file is ignored: it is about another pool");
    }
    spec
}

/// What a look at the file found, as far as it matters whether it is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look {
    Content(Vec<u8>),
    Failed(String),
}

impl Look {
    fn of(found: &Result<Vec<u8>, ReadError>) -> Self {
        match found {
            Ok(bytes) => Self::Content(bytes.clone()),
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

/// What a look means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// Something else has settled.
    Changed,
    /// Nothing to tell.
    None,
}

/// What has been seen and told so far.
#[derive(Debug, Default)]
struct History {
    last: Option<Look>,
    told: Option<Look>,
}

impl History {
    fn step(&mut self, look: Look) -> News {
        let settled = self.last.as_ref() == Some(&look);
        let known = self.told.as_ref() == Some(&look);
        if settled && !known {
            self.told = Some(look);
            return News::Changed;
        }
        if !settled {
            self.last = Some(look);
        }
        News::None
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;
    use tokio::sync::mpsc;

    use super::*;

    const EVERY: Duration = Duration::from_millis(2);

    fn file(endpoints: usize) -> String {
        let mut text =
            "apiVersion: signalbox/v1\nkind: Endpoints\npool: { name: p }\nendpoints:\n".to_owned();
        (1..=endpoints).for_each(|n| text += &format!("- {{ name: pod-{n}, address: 127.0.0.1:{n} }}\n"));
        text
    }

    /// What is told of `path`: the number of endpoints or the error.
    fn told(path: PathBuf) -> mpsc::UnboundedReceiver<Result<usize, ReadError>> {
        let (tell, told) = mpsc::unbounded_channel();
        tokio::spawn(watch(path, EVERY, move |read| {
            let _ = tell.send(read.map(|spec| spec.endpoints.len()));
        }));
        told
    }

    #[tokio::test]
    async fn a_replaced_file_is_told_good_or_bad() {
        let folder = tempfile::tempdir().unwrap();
        let (path, new) = (folder.path().join("endpoints.yaml"), folder.path().join("new"));
        let replace = |text: &str| {
            fs::write(&new, text).unwrap();
            fs::rename(&new, &path).unwrap();
        };
        replace(&file(1));
        let mut told = told(path.clone());
        assert_eq!(told.recv().await.unwrap().unwrap(), 1);
        replace(&file(2));
        assert_eq!(told.recv().await.unwrap().unwrap(), 2);
        replace("kind: Pod");
        assert!(matches!(told.recv().await.unwrap(), Err(ReadError::Invalid { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(told.recv().await.unwrap(), Err(ReadError::Io { .. })));
        replace(&file(3));
        assert_eq!(told.recv().await.unwrap().unwrap(), 3);
    }

    #[tokio::test]
    async fn links_may_be_swapped_as_kubernetes_does() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for n in [1, 2] {
            fs::create_dir(at(&format!("..{n}"))).unwrap();
            fs::write(at(&format!("..{n}/endpoints.yaml")), file(n)).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/endpoints.yaml", at("endpoints.yaml")).unwrap();
        let mut told = told(at("endpoints.yaml"));
        assert_eq!(told.recv().await.unwrap().unwrap(), 1);
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!(told.recv().await.unwrap().unwrap(), 2);
    }

    fn look() -> impl Strategy<Value = Look> {
        prop_oneof![
            (0..3_u8).prop_map(|byte| Look::Content(vec![byte])),
            Just(Look::Failed("gone".to_owned())),
        ]
    }

    proptest! {
        #[test]
        fn what_settles_is_told_once(looks in prop::collection::vec(look(), 0..40)) {
            let mut history = History::default();
            let mut told: Vec<Look> = Vec::new();
            let mut before: Option<&Look> = None;
            for look in &looks {
                if history.step(look.clone()) == News::Changed {
                    prop_assert_ne!(told.last(), Some(look));
                    prop_assert_eq!(before, Some(look));
                    told.push(look.clone());
                }
                if before == Some(look) {
                    prop_assert_eq!(told.last(), Some(look));
                }
                before = Some(look);
            }
        }
    }
}
