//! Who a process is, as its files say at the moment.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::files::{Configs, FileError, Files, Material};
use crate::peers::Names;

/// The files are read again for a new connection when that was not done for so long.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// Who a process is, and whom it speaks with.
#[derive(Debug)]
pub struct Identity {
    files: Files,
    names: Names,
    latest: Mutex<Latest>,
}

/// What was read last.
#[derive(Debug)]
struct Latest {
    looked_at: Instant,
    material: Material,
    configs: Configs,
    /// What was the matter with the files, if anything was.
    complaint: Option<String>,
}

impl Identity {
    pub(crate) fn load(files: Files, names: Names) -> Result<Self, FileError> {
        let material = files.read()?;
        let configs = files.configs(&material, &names)?;
        let latest = Latest { looked_at: Instant::now(), material, configs, complaint: None };
        Ok(Self { files, names, latest: Mutex::new(latest) })
    }

    /// What a new connection is made by: what the files say now, or said when they last made sense.
    pub(crate) fn configs(&self) -> Configs {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.looked_at.elapsed() >= LOOK_AFTER {
            latest.looked_at = Instant::now();
            self.look(&mut latest);
        }
        latest.configs.clone()
    }

    fn look(&self, latest: &mut Latest) {
        let read = self.files.read().and_then(|material| {
            if material == latest.material {
                return Ok(None);
            }
            Ok(Some((self.files.configs(&material, &self.names)?, material)))
        });
        match read {
            Ok(None) => latest.complaint = None,
            Ok(Some((configs, material))) => {
                tracing::info!("the TLS files have changed and count for new connections");
                (latest.configs, latest.material, latest.complaint) = (configs, material, None);
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
