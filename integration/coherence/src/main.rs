//! `cargo xtask bench coherence`, the half with real processes: how soon replicas know of each other's bookings, how soon they recover
//! from losses, and what that costs. Everything is real but the model servers, which are simulated, and the gateway, which is this
//! process. `docs/COHERENCE.md` says what each number means.

mod account;
mod caller;
mod collectors;
mod cost;
mod counting;
mod delays;
mod ear;
mod failover;
mod figures;
mod line;
mod load;
mod prompts;
mod propagation;
mod report;
mod rounds;
mod soak;
mod strain;
mod warm;

use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};

use crate::report::Section;

/// Coherence, measured on real processes.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench coherence --real", bin_name = "cargo xtask bench coherence --real")]
struct Flags {
    /// Only this; repeated: only these
    #[arg(long, value_enum, value_name = "WHAT")]
    only: Vec<Measurement>,
    /// How long memory is looked at
    #[arg(long, value_name = "TIME", default_value = "20m", value_parser = humantime::parse_duration, conflicts_with = "no_soak")]
    soak: Duration,
    /// Leave memory out
    #[arg(long)]
    no_soak: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Measurement {
    /// How long it takes until other replicas know of a booking
    Propagation,
    /// How soon a new replica knows what its peers know
    Warm,
    /// How long a pool is without an owner
    Failover,
    /// How soon other collectors report what a dead one had
    Collectors,
    /// What it costs, in bytes and in the owner's time
    Cost,
    /// Whether memory stays where it is
    Soak,
}

impl Measurement {
    async fn measure(self, soak: Duration) -> anyhow::Result<Section> {
        match self {
            Self::Propagation => propagation::measure().await,
            Self::Warm => warm::measure().await,
            Self::Failover => failover::measure().await,
            Self::Collectors => collectors::measure().await,
            Self::Cost => cost::measure().await,
            Self::Soak => soak::measure(soak).await,
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    for measurement in Measurement::value_variants() {
        let is_wanted = if flags.only.is_empty() {
            !(flags.no_soak && *measurement == Measurement::Soak)
        } else {
            flags.only.contains(measurement)
        };
        if is_wanted {
            let section = measurement.measure(flags.soak).await;
            println!("{}", section.with_context(|| format!("{measurement:?}"))?.markdown());
        }
    }
    Ok(())
}
