//! Arguments of `routing`.

use std::path::PathBuf;

use super::scenes::{SCENES, Scene};
use crate::seeds::Seeds;

/// Arguments of `routing`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Mooncake's conversation trace; without it the scene conversation-trace is generated
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Write all measurements to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Run only this scene; repeatable
    #[arg(long, value_name = "NAME", value_parser = scene)]
    scene: Vec<&'static Scene>,
    /// Run only this contender; repeatable. Goals need all contenders
    #[arg(long, value_name = "NAME")]
    pub(crate) contender: Vec<String>,
    /// Also run a contender with changed settings, as CONTENDER:NAME=VALUE,…, or NAME=VALUE,… for Signalbox; repeatable
    #[arg(long, value_name = "SETTINGS")]
    pub(crate) variant: Vec<String>,
    /// Number of replicas; repeatable [default: those of the scene]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    replicas: Vec<u8>,
    /// Load in percent of the rate at which least-load saturates; repeatable [default: 40, 70, 95]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..))]
    load: Vec<u32>,
    /// Seeds of the workloads
    #[arg(long, value_enum, default_value_t = Seeds::HeldOut)]
    seeds: Seeds,
    /// Run two short workloads per scene and skip the lowest load
    #[arg(long)]
    pub(crate) quick: bool,
}

fn scene(name: &str) -> Result<&'static Scene, String> {
    let names = || SCENES.iter().map(|scene| scene.name).collect::<Vec<_>>().join(", ");
    Scene::find(name).ok_or_else(|| format!("there is no such scene; the scenes are {}", names()))
}

impl Args {
    pub(crate) fn scenes(&self) -> Vec<&'static Scene> {
        if self.scene.is_empty() { SCENES.iter().collect() } else { self.scene.clone() }
    }

    pub(crate) fn replicas(&self, scene: &Scene) -> Vec<usize> {
        match self.replicas.is_empty() {
            true => scene.replicas.to_vec(),
            false => self.replicas.iter().map(|replicas| usize::from(*replicas)).collect(),
        }
    }

    pub(crate) fn loads(&self) -> Vec<u32> {
        match (self.load.is_empty(), self.quick) {
            (false, _) => self.load.clone(),
            (true, true) => vec![70, 95],
            (true, false) => vec![40, 70, 95],
        }
    }

    pub(crate) fn seeds(&self) -> Vec<u64> {
        self.seeds.first(self.quick.then_some(2))
    }

    /// Returns the number of requests of each workload of a scene.
    pub(crate) fn requests(&self, scene: &Scene) -> u32 {
        if self.quick { scene.quick_requests } else { scene.requests }
    }
}
