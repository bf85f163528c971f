//! Who a process is, as its files say at the moment.

use crate::files::{Configs, FileError, Files};
use crate::reread::Reread;

/// Who a process is, and whom it speaks with.
#[derive(Debug)]
pub struct Identity(Reread<Files>);

impl Identity {
    pub(crate) fn load(files: Files) -> Result<Self, FileError> {
        Reread::load(files).map(Self)
    }

    /// What a new connection is made by: what the files say now, or said when they last made sense.
    pub(crate) fn configs(&self) -> Configs {
        self.0.latest()
    }

    /// Looks at the files with the next connection.
    #[cfg(test)]
    pub(crate) fn expire(&self) {
        self.0.expire();
    }
}
