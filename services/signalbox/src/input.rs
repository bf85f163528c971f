//! What commands read: a file, or standard input.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::Context;

/// A file that a command reads, or standard input, which is written `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    StandardInput,
    File(PathBuf),
}

impl From<OsString> for Input {
    fn from(argument: OsString) -> Self {
        if argument == "-" { Self::StandardInput } else { Self::File(argument.into()) }
    }
}

/// Shows the path, or that it is standard input.
impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StandardInput => f.write_str("standard input"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Input {
    /// Reads all of it. Blocks until it ends.
    ///
    /// # Errors
    /// When it cannot be read; the error names it.
    pub(crate) fn read(&self) -> anyhow::Result<Vec<u8>> {
        let content = match self {
            Self::StandardInput => {
                let mut bytes = Vec::new();
                io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
            }
            Self::File(path) => std::fs::read(path),
        };
        content.with_context(|| format!("cannot read {self}"))
    }

    /// Reads all of it as text. Blocks until it ends.
    ///
    /// # Errors
    /// When it cannot be read, or is no UTF-8 text; the error names it.
    pub(crate) fn read_text(&self) -> anyhow::Result<String> {
        let text = String::from_utf8(self.read()?);
        text.with_context(|| format!("{self} is not UTF-8 text; save it as UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dash_is_standard_input_and_errors_name_the_file() {
        assert_eq!(Input::StandardInput, Input::from(OsString::from("-")));
        let missing = Input::from(OsString::from("no/such.json"));
        assert!(missing.read().unwrap_err().to_string().starts_with("cannot read no/such.json"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"\xff").unwrap();
        let binary = Input::File(file.path().to_owned());
        assert_eq!(vec![0xff], binary.read().unwrap());
        assert!(binary.read_text().unwrap_err().to_string().contains("is not UTF-8 text"));
    }
}
