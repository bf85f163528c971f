//! Reads in what pages the process's memory is.

/// The kernel's sums over the memory of this process.
const SUMS: &str = "/proc/self/smaps_rollup";

/// The memory of this process, in bytes.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct Memory {
    pub(super) all: u64,
    pub(super) in_huge_pages: u64,
}

impl Memory {
    /// Returns the memory at this moment; zeros where the kernel does not tell it.
    pub(super) fn now() -> Self {
        let sums = std::fs::read_to_string(SUMS).unwrap_or_default();
        let bytes = |name: &str| {
            let kibibytes = sums.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
            kibibytes.and_then(|kibibytes| kibibytes.parse::<u64>().ok()).unwrap_or(0) * 1_024
        };
        Self { all: bytes("Rss:"), in_huge_pages: bytes("AnonHugePages:") }
    }
}
