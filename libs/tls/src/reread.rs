//! Files that are read again when they have changed, and what was made of them last.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::files::FileError;

/// The files are read again for a new connection when that was not done for so long.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// Files, and how something is made of them.
pub(crate) trait Source: Debug {
    /// What is in the files.
    type Material: Debug + PartialEq;
    /// What is made of it.
    type Made: Clone + Debug;

    fn read(&self) -> Result<Self::Material, FileError>;

    fn make(&self, material: &Self::Material) -> Result<Self::Made, FileError>;
}

/// What was made of files that may change.
#[derive(Debug)]
pub(crate) struct Reread<S: Source> {
    source: S,
    latest: Mutex<Latest<S>>,
}

/// What was read last.
#[derive(Debug)]
struct Latest<S: Source> {
    looked_at: Instant,
    material: S::Material,
    made: S::Made,
    /// What was the matter with the files, if anything was.
    complaint: Option<String>,
}

impl<S: Source> Reread<S> {
    pub(crate) fn load(source: S) -> Result<Self, FileError> {
        let material = source.read()?;
        let made = source.make(&material)?;
        let latest = Latest { looked_at: Instant::now(), material, made, complaint: None };
        Ok(Self { source, latest: Mutex::new(latest) })
    }

    /// What a new connection is made by: what the files say now, or said when they last made sense.
    pub(crate) fn latest(&self) -> S::Made {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.looked_at.elapsed() >= LOOK_AFTER {
            latest.looked_at = Instant::now();
            self.look(&mut latest);
        }
        latest.made.clone()
    }

    fn look(&self, latest: &mut Latest<S>) {
        let read = self.source.read().and_then(|material| {
            if material == latest.material {
                return Ok(None);
            }
            Ok(Some((self.source.make(&material)?, material)))
        });
        match read {
            Ok(None) => latest.complaint = None,
            Ok(Some((made, material))) => {
                tracing::info!("the TLS files have changed and count for new connections");
                (latest.made, latest.material, latest.complaint) = (made, material, None);
            }
            Err(error) => {
                let complaint = error.to_string();
                if latest.complaint.as_ref() != Some(&complaint) {
                    tracing::error!(%error, "the TLS files are of no use; those before stay in use");
                    latest.complaint = Some(complaint);
                }
            }
        }
    }

    /// Looks at the files with the next connection.
    #[cfg(test)]
    pub(crate) fn expire(&self) {
        let mut latest = self.latest.lock().unwrap();
        latest.looked_at = latest.looked_at.checked_sub(LOOK_AFTER).unwrap();
    }
}
