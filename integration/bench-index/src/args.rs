//! The arguments.

use std::path::PathBuf;

use clap::Parser;
use signalbox_types::BlockHash;

/// Measures the prefix index beside those of others.
#[derive(Debug, Parser)]
#[command(name = "signalbox-bench-index")]
pub(crate) struct Args {
    /// A trace in Mooncake's format; a generated one without it
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Number of workers; may be repeated [default: 32, 128 and 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Vec<u32>,
    /// Blocks for which a worker has room [default: half of what the trace would put there]
    #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u32).range(1..))]
    capacity: Option<u32>,
    /// Tokens of a block; 256 bytes of text are about 64
    #[arg(long, value_name = "TOKENS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) block_tokens: u32,
    /// So often each index goes through the stream
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Requests of a generated trace
    #[arg(long, value_name = "N", default_value_t = 12_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) requests: u32,
    /// Of a generated trace
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Writes all figures as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

impl Args {
    pub(crate) fn workers(&self) -> Vec<usize> {
        let chosen = if self.workers.is_empty() { &[32, 128, 1_000][..] } else { &self.workers };
        chosen.iter().map(|workers| *workers as usize).collect()
    }

    pub(crate) fn capacity(&self, chains: &[Vec<BlockHash>], workers: usize) -> usize {
        let distinct: std::collections::HashSet<_> = chains.iter().flatten().collect();
        self.capacity.map_or(distinct.len() / workers / 2, |blocks| blocks as usize).max(64)
    }
}
