//! Reads in what pages the process's memory is.

/// The variable that holds the settings of the C library, and the one by which its allocator asks for huge pages.
const SETTINGS: &str = "GLIBC_TUNABLES";
const HUGE_PAGES: &str = "glibc.malloc.hugetlb=1";

/// The least share of the memory that is in huge pages if they were asked for. In small pools, much of it is in parts that
/// are too small for one.
const LEAST_SHARE: f64 = 0.5;

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

    /// Fails if this process asked for huge pages and has too few of them: the measured times are then those of another
    /// setting.
    pub(super) fn check_huge_pages(self) -> anyhow::Result<()> {
        let settings = std::env::var(SETTINGS).unwrap_or_default();
        self.check_settings(&settings)
    }

    fn check_settings(self, settings: &str) -> anyhow::Result<()> {
        let asked = settings.split(':').any(|setting| setting == HUGE_PAGES);
        let enough = self.in_huge_pages as f64 >= self.all as f64 * LEAST_SHARE;
        anyhow::ensure!(
            !asked || enough,
            "{SETTINGS}={settings} asks for huge pages, but only {} of {} MB are in them: take \
             the setting of the Dockerfile, and set /sys/kernel/mm/transparent_hugepage/enabled to madvise or always",
            self.in_huge_pages / 1_000_000,
            self.all / 1_000_000,
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &str = "glibc.malloc.top_pad=1:glibc.malloc.hugetlb=1";

    fn check(in_huge_pages: u64, settings: &str) -> Result<(), String> {
        Memory { all: 100_000_000, in_huge_pages }.check_settings(settings).map_err(|error| error.to_string())
    }

    #[test]
    fn huge_pages_that_were_asked_for_must_be_there() {
        assert_eq!(check(60_000_000, ASKED), Ok(()));
        let error = check(40_000_000, ASKED).expect_err("most memory is in small pages");
        assert!(error.contains("only 40 of 100 MB"), "{error}");
    }

    #[test]
    fn a_run_that_asked_for_none_needs_none() {
        assert_eq!(check(0, ""), Ok(()));
        assert_eq!(check(0, "glibc.malloc.hugetlb=0"), Ok(()));
    }
}
