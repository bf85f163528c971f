//! Arguments of `scale`.

use std::path::PathBuf;

use super::profiles::{PROFILES, Profile};
use crate::seeds::Seeds;

/// How long pods take to start, in seconds.
const STARTUPS_S: [u32; 3] = [30, 90, 180];

/// Arguments of `scale`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write all measurements to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Run only this profile; repeatable
    #[arg(long, value_name = "NAME", value_parser = profile)]
    profile: Vec<&'static Profile>,
    /// How long pods take to start; repeatable [default: 30, 90, 180]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=600))]
    startup: Vec<u32>,
    /// Seeds of the requests
    #[arg(long, value_enum, default_value_t = Seeds::HeldOut)]
    seeds: Seeds,
    /// Run only the first of the seeds
    #[arg(long)]
    quick: bool,
    /// Run only Signalbox's signal
    #[arg(long, conflicts_with = "check")]
    pub(crate) alone: bool,
    /// Fail if a goal is missed
    #[arg(long)]
    pub(crate) check: bool,
}

fn profile(name: &str) -> Result<&'static Profile, String> {
    let names = || PROFILES.iter().map(|profile| profile.name).collect::<Vec<_>>().join(", ");
    let found = PROFILES.iter().find(|profile| profile.name == name);
    found.ok_or_else(|| format!("the profiles are {}", names()))
}

impl Args {
    pub(super) fn profiles(&self) -> Vec<&'static Profile> {
        if self.profile.is_empty() { PROFILES.iter().collect() } else { self.profile.clone() }
    }

    pub(super) fn startups_s(&self) -> Vec<u32> {
        if self.startup.is_empty() { STARTUPS_S.to_vec() } else { self.startup.clone() }
    }

    pub(super) fn seeds(&self) -> Vec<u64> {
        self.seeds.first(self.quick.then_some(1))
    }
}
