//! Arguments of `routing`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::profile::Profile;

/// Arguments of `routing`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Trace for the conversation profile in Mooncake's format; without it conversations are generated
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Write all measurements to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Run only this profile; repeatable
    #[arg(long, value_enum)]
    profile: Vec<Profile>,
    /// Run only this policy; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Vec<String>,
    /// Also run Signalbox's policy with changed settings, as NAME=VALUE,…; repeatable
    #[arg(long, value_name = "SETTINGS")]
    pub(crate) variant: Vec<String>,
    /// Number of replicas; repeatable [default: 1 and 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    replicas: Vec<u8>,
    /// Load in percent of the rate at which least-load saturates; repeatable [default: 40, 70, 95]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..))]
    load: Vec<u32>,
    /// Number of workloads per profile [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Number of requests per workload; shared-prefix and burst have fixed sizes
    #[arg(long, value_name = "N", default_value_t = 1_500, value_parser = clap::value_parser!(u32).range(20..))]
    pub(crate) requests: u32,
    /// Number of pods
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..1_000))]
    pub(crate) pods: usize,
    /// Run two workloads per profile and skip the lowest load
    #[arg(long)]
    quick: bool,
}

impl Args {
    pub(crate) fn profiles(&self) -> Vec<Profile> {
        if self.profile.is_empty() { Profile::value_variants().to_vec() } else { self.profile.clone() }
    }

    pub(crate) fn replicas(&self) -> Vec<usize> {
        let chosen = if self.replicas.is_empty() { &[1, 4][..] } else { &self.replicas };
        chosen.iter().map(|replicas| usize::from(*replicas)).collect()
    }

    pub(crate) fn loads(&self) -> Vec<u32> {
        match (self.load.is_empty(), self.quick) {
            (false, _) => self.load.clone(),
            (true, true) => vec![70, 95],
            (true, false) => vec![40, 70, 95],
        }
    }

    pub(crate) fn seeds(&self) -> u64 {
        self.seeds.unwrap_or(if self.quick { 2 } else { 5 })
    }
}
