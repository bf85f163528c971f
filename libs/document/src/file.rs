//! Reads a file of bounded size and parses its content.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::problem::FileErrors;

/// Size of the largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("{}: {cause}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        cause: io::Error,
    },
    /// The path leads to a directory, a pipe or a device.
    #[error("{}: not a regular file", path.display())]
    NotAFile {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file is larger than [`MAX_FILE_BYTES`].
    #[error("{}: larger than {MAX_FILE_BYTES} bytes, the maximum", path.display())]
    TooLarge {
        /// Path of the file.
        path: PathBuf,
    },
    /// The content is invalid.
    #[error("{}:\n{errors}", path.display())]
    Invalid {
        /// Path of the file.
        path: PathBuf,
        /// All problems of the content.
        errors: FileErrors,
    },
}

/// Reads the file at `path` and returns what `parse` makes of it. Blocks while it reads.
///
/// # Errors
/// [`ReadError`], which names the file.
pub fn read_file<T>(path: &Path, parse: impl FnOnce(&str) -> Result<T, FileErrors>) -> Result<T, ReadError> {
    read_bytes(path).and_then(|bytes| parse_bytes(path, &bytes, parse))
}

/// Returns the content of the file at `path`, at most [`MAX_FILE_BYTES`].
///
/// # Errors
/// Any [`ReadError`] except [`ReadError::Invalid`].
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, ReadError> {
    let io = |cause| ReadError::Io { path: path.to_owned(), cause };
    // Checked before the file is opened, because opening a pipe blocks until it has a writer.
    if !fs::metadata(path).map_err(io)?.is_file() {
        return Err(ReadError::NotAFile { path: path.to_owned() });
    }
    read_from(path, File::open(path).map_err(io)?)
}

/// Returns the content of `source`, at most [`MAX_FILE_BYTES`]. Blocks while it reads. `path` names it in errors.
///
/// # Errors
/// [`ReadError::Io`] or [`ReadError::TooLarge`].
pub fn read_from(path: &Path, source: impl Read) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    let read = source.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|cause| ReadError::Io { path: path.to_owned(), cause })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ReadError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Returns what `parse` makes of `bytes`, the content of the file at `path`.
///
/// # Errors
/// [`ReadError::Invalid`] with all problems of the content.
pub fn parse_bytes<T>(
    path: &Path,
    bytes: &[u8],
    parse: impl FnOnce(&str) -> Result<T, FileErrors>,
) -> Result<T, ReadError> {
    let parsed = match str::from_utf8(bytes) {
        Ok(text) => parse(text),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            Err(FileErrors::single(line, "not UTF-8 text; save it as UTF-8".to_owned()))
        }
    };
    parsed.map_err(|errors| ReadError::Invalid { path: path.to_owned(), errors })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn always_invalid(text: &str) -> Result<(), FileErrors> {
        Err(FileErrors::single(1, format!("{} bytes", text.len())))
    }

    #[test]
    fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoints.yaml");
        let shown = |path: &Path| {
            let error = read_file(path, always_invalid).unwrap_err().to_string();
            error.strip_prefix(&path.display().to_string()).unwrap().to_owned()
        };
        assert!(shown(&path).contains("No such file"));
        assert_eq!(shown(folder.path()), ": not a regular file");
        fs::write(&path, b"kind: Endpoints\nname: \xff").unwrap();
        assert_eq!(shown(&path), ":\nline 2: not UTF-8 text; save it as UTF-8");
        fs::write(&path, "#".repeat(MAX_FILE_BYTES as usize + 1)).unwrap();
        assert!(shown(&path).starts_with(": larger than 1048576 bytes"));
        fs::write(&path, "#".repeat(MAX_FILE_BYTES as usize)).unwrap();
        assert_eq!(shown(&path), ":\nline 1: 1048576 bytes");
    }
}
