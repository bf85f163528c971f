//! Reloads files when they change and keeps what was last built from them.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::pem::FileError;

/// A new connection checks the files if the last check is at least this old.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Files, and how a value is built from them.
pub(crate) trait ReloadSource: Debug {
    /// Contents of the files.
    type Contents: Debug + PartialEq;
    /// The value that is built from the contents.
    type Output: Clone + Debug;

    fn read(&self) -> Result<Self::Contents, FileError>;

    fn build(&self, contents: &Self::Contents) -> Result<Self::Output, FileError>;
}

/// A value built from files that may change.
#[derive(Debug)]
pub(crate) struct Reloading<S: ReloadSource> {
    source: S,
    loaded: Mutex<Loaded<S>>,
}

/// The last valid contents, and the value built from them.
#[derive(Debug)]
struct Loaded<S: ReloadSource> {
    checked_at: Instant,
    contents: S::Contents,
    output: S::Output,
    /// Error of the last check, if it failed.
    error: Option<String>,
}

impl<S: ReloadSource> Reloading<S> {
    pub(crate) fn load(source: S) -> Result<Self, FileError> {
        let contents = source.read()?;
        let output = source.build(&contents)?;
        let loaded = Loaded { checked_at: Instant::now(), contents, output, error: None };
        Ok(Self { source, loaded: Mutex::new(loaded) })
    }

    /// Returns the value for a new connection: built from the files as they are now, or from their last valid
    /// version.
    pub(crate) fn current(&self) -> S::Output {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.checked_at.elapsed() >= CHECK_INTERVAL {
            loaded.checked_at = Instant::now();
            self.check(&mut loaded);
        }
        loaded.output.clone()
    }

    fn check(&self, loaded: &mut Loaded<S>) {
        let read = self.source.read().and_then(|contents| {
            if contents == loaded.contents {
                return Ok(None);
            }
            Ok(Some((self.source.build(&contents)?, contents)))
        });
        match read {
            Ok(None) => loaded.error = None,
            Ok(Some((output, contents))) => {
                tracing::info!("TLS files changed; new connections use them");
                (loaded.output, loaded.contents, loaded.error) = (output, contents, None);
            }
            Err(error) => {
                let shown = error.to_string();
                if loaded.error.as_ref() != Some(&shown) {
                    tracing::error!(%error, "cannot reload the TLS files; keeping the last valid version");
                    loaded.error = Some(shown);
                }
            }
        }
    }

    /// Makes the next connection check the files.
    #[cfg(test)]
    pub(crate) fn expire(&self) {
        let mut loaded = self.loaded.lock().unwrap();
        loaded.checked_at = loaded.checked_at.checked_sub(CHECK_INTERVAL).unwrap();
    }
}
