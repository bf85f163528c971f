//! The command-line arguments.

use std::path::PathBuf;

use clap::Parser;
use signalbox_types::BlockHash;

/// Compares Signalbox's prefix index with other implementations
#[derive(Debug, Parser)]
#[command(name = "signalbox-bench-index")]
pub(crate) struct Args {
    /// Trace in Mooncake's format; without it conversations are generated
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Number of workers; repeatable [default: 32, 128 and 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Vec<u32>,
    /// Number of workers of the scene with readers beside a writer
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) shared_workers: u32,
    /// Number of readers beside the writer
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) readers: u32,
    /// Requests per second that the writer beside readers applies
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) writes_per_second: u32,
    /// Capacity of a worker in blocks [default: half of the blocks that the requests would put there]
    #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u32).range(1..))]
    capacity: Option<u32>,
    /// Tokens per block; 256 bytes of text are about 64 tokens
    #[arg(long, value_name = "TOKENS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) block_tokens: u32,
    /// Number of times that each index processes the stream
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Number of requests of a generated trace
    #[arg(long, value_name = "N", default_value_t = 12_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) requests: u32,
    /// Seed of a generated trace
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write all measurements to FILE as JSON
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
