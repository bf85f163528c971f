//! The folder outside of the checkout that keeps what is slow to build.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The environment variable with the path of the folder to use instead of `~/.cache/signalbox`.
const VARIABLE: &str = "SIGNALBOX_CACHE";

/// The cache. Each entry is a folder that is complete once it exists, and never changes.
#[derive(Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Finds the folder and creates it if necessary.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let given = std::env::var_os(VARIABLE).map(PathBuf::from);
        let caches = || {
            let configured = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            configured.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        };
        let root = given.or_else(|| Some(caches()?.join("signalbox")));
        let root = root.with_context(|| format!("there is no HOME: set {VARIABLE} to a folder"))?;
        let created = fs::create_dir_all(&root);
        created.with_context(|| format!("cannot create {}; {VARIABLE} changes the place", root.display()))?;
        Ok(Self { root })
    }

    /// Returns the folder of the entry `name` for `key`, which stands for everything that the entry is built from.
    /// Calls `build` with an empty folder if there is none.
    pub(crate) fn entry(
        &self,
        name: &str,
        key: &str,
        build: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        let entry = self.root.join(format!("{name}-{key}"));
        if entry.is_dir() {
            return Ok(entry);
        }
        let _lock = self.lock(name)?;
        if entry.is_dir() {
            return Ok(entry);
        }
        // The lock makes this the only build. A folder that is here already is what a killed build left.
        let partial = self.root.join(format!("{name}-{key}.partial"));
        if partial.exists() {
            fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
        }
        fs::create_dir(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
        build(&partial)?;
        let renamed = fs::rename(&partial, &entry);
        renamed.with_context(|| format!("cannot rename {} to {}", partial.display(), entry.display()))?;
        Ok(entry)
    }

    /// Locks an entry until the file is dropped, also if this process is killed.
    fn lock(&self, name: &str) -> anyhow::Result<File> {
        let path = self.root.join(format!("{name}.lock"));
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                println!("another process prepares {name}; waiting for it");
                file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
            }
            locked => locked.with_context(|| format!("cannot lock {}", path.display()))?,
        }
        Ok(file)
    }
}

/// Returns a short key for these contents.
pub(crate) fn key(contents: &[&[u8]]) -> String {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    for content in contents {
        hash.update(&content.len().to_le_bytes());
        hash.update(content);
    }
    format!("{:016x}", hash.digest())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_built_once_and_again_after_a_build_that_failed() {
        let root = std::env::temp_dir().join(format!("signalbox-cache-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let cache = Cache { root: root.clone() };
        let failed = cache.entry("tool", "1", |folder| {
            fs::write(folder.join("half"), "")?;
            anyhow::bail!("no compiler")
        });
        assert_eq!(failed.unwrap_err().to_string(), "no compiler");
        let build = |folder: &Path| Ok(fs::write(folder.join("tool"), "")?);
        let entry = cache.entry("tool", "1", build).unwrap();
        assert!(entry.join("tool").is_file() && !entry.join("half").exists());
        assert_eq!(cache.entry("tool", "1", |_| panic!("built twice")).unwrap(), entry);
        assert_ne!(cache.entry("tool", "2", build).unwrap(), entry);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn keys_tell_contents_apart() {
        assert_eq!(key(&[b"ab", b"c"]), key(&[b"ab", b"c"]));
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
    }
}
