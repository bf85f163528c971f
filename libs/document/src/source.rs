//! The file behind the text.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::problem::FileErrors;

/// The size of the largest file that is read.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Why a file gives nothing.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is a directory, a pipe or a device.
    #[error("{}: not a regular file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// It is larger than [`MAX_FILE_BYTES`].
    #[error("{}: larger than {MAX_FILE_BYTES} bytes, which is the most that is read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It has been read, and it is wrong.
    #[error("{}:\n{errors}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All that is wrong with it.
        errors: FileErrors,
    },
}

/// What `parse` makes of the file at `path`. Blocks while it reads.
///
/// # Errors
/// [`ReadError`], which names the file.
pub fn read_file<T>(path: &Path, parse: impl FnOnce(&str) -> Result<T, FileErrors>) -> Result<T, ReadError> {
    load(path).and_then(|bytes| decode(path, &bytes, parse))
}

/// The bytes of the file at `path`, of which there are at most [`MAX_FILE_BYTES`].
///
/// # Errors
/// [`ReadError`], but that the content is wrong.
pub fn load(path: &Path) -> Result<Vec<u8>, ReadError> {
    let io = |source| ReadError::Io { path: path.to_owned(), source };
    // Asked before it is opened: to open a pipe is to wait for its writer.
    if !fs::metadata(path).map_err(io)?.is_file() {
        return Err(ReadError::NotAFile { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ReadError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// What `parse` makes of `bytes`, which are those of the file at `path`.
///
/// # Errors
/// [`ReadError::Invalid`] with everything that is wrong with them.
pub fn decode<T>(
    path: &Path,
    bytes: &[u8],
    parse: impl FnOnce(&str) -> Result<T, FileErrors>,
) -> Result<T, ReadError> {
    let parsed = match str::from_utf8(bytes) {
        Ok(text) => parse(text),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            Err(FileErrors::one(line, "not UTF-8 text; save it as UTF-8".to_owned()))
        }
    };
    parsed.map_err(|errors| ReadError::Invalid { path: path.to_owned(), errors })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(text: &str) -> Result<(), FileErrors> {
        Err(FileErrors::one(1, format!("{} bytes", text.len())))
    }

    #[test]
    fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoints.yaml");
        let shown = |path: &Path| {
            let error = read_file(path, nothing).unwrap_err().to_string();
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
