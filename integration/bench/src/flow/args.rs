//! Arguments of `flow`.

use std::path::PathBuf;

use super::scenes::{SCENES, Scene};
use crate::seeds::Seeds;

/// The loads, in percent of what the pods can serve, and the numbers of replicas.
const LOADS: [u32; 4] = [50, 90, 120, 200];
const REPLICAS: [usize; 3] = [1, 4, 8];

/// Arguments of `flow`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write all measurements to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Run only this scene; repeatable
    #[arg(long, value_name = "NAME", value_parser = scene)]
    scene: Vec<&'static Scene>,
    /// Load in percent of what the pods can serve; repeatable [default: 50, 90, 120, 200]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=200))]
    load: Vec<u32>,
    /// Number of replicas; repeatable [default: 1, 4, 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    replicas: Vec<u8>,
    /// Seeds of the requests
    #[arg(long, value_enum, default_value_t = Seeds::HeldOut)]
    seeds: Seeds,
    /// Run only the first of the seeds
    #[arg(long)]
    quick: bool,
    /// Fail if a goal is missed
    #[arg(long)]
    pub(crate) check: bool,
}

fn scene(name: &str) -> Result<&'static Scene, String> {
    let names = || SCENES.iter().map(|scene| scene.name).collect::<Vec<_>>().join(", ");
    SCENES.iter().find(|scene| scene.name == name).ok_or_else(|| format!("the scenes are {}", names()))
}

impl Args {
    pub(super) fn scenes(&self) -> Vec<&'static Scene> {
        if self.scene.is_empty() { SCENES.iter().collect() } else { self.scene.clone() }
    }

    pub(super) fn loads(&self) -> Vec<u32> {
        if self.load.is_empty() { LOADS.to_vec() } else { self.load.clone() }
    }

    pub(super) fn replicas(&self) -> Vec<usize> {
        if self.replicas.is_empty() {
            return REPLICAS.to_vec();
        }
        self.replicas.iter().map(|count| usize::from(*count)).collect()
    }

    pub(super) fn seeds(&self) -> Vec<u64> {
        self.seeds.first(self.quick.then_some(1))
    }
}
