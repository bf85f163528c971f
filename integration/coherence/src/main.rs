//! The half of `cargo xtask bench coherence` with real processes. It measures how soon replicas know each
//! other's bookings, how soon they recover from failures, and the cost. The model servers are simulated, and
//! this process plays the gateway; everything else is real. `docs/COHERENCE.md` explains the results.

mod harness;
mod measurements;
mod report;
mod statistics;

use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};

use crate::measurements::{
    collector_loss, cost, failover, large_bodies, pools, propagation, questions, queue, replica_start, soak,
};
use crate::report::Section;

/// Measures coherence with real processes
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench coherence --real", bin_name = "cargo xtask bench coherence --real")]
struct Flags {
    /// Run only this measurement; repeatable
    #[arg(long, value_enum, value_name = "MEASUREMENT")]
    only: Vec<Measurement>,
    /// Duration of the memory measurement
    #[arg(long, value_name = "DURATION", default_value = "20m", value_parser = humantime::parse_duration, conflicts_with = "no_soak")]
    soak: Duration,
    /// Skip the memory measurement
    #[arg(long)]
    no_soak: bool,
}

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Measurement {
    /// Time until other replicas know of a booking
    Propagation,
    /// Time until a new replica knows what its peers know
    ReplicaStart,
    /// Time without an owner
    Failover,
    /// Time until other collectors report the pods of a killed one
    CollectorLoss,
    /// Cost in bytes and in CPU time of the owner
    Cost,
    /// Cost of many small pools, compared with that of a large one
    Pools,
    /// Time until a waiting request gets a free place, and cost of waiting requests
    Queue,
    /// Delay of small requests by large ones on the same connection
    LargeBodies,
    /// Cost of the questions of autoscalers, and whether they hold up the owner
    Questions,
    /// Growth of memory
    Soak,
}

impl Measurement {
    async fn measure(self, soak: Duration) -> anyhow::Result<Section> {
        match self {
            Self::Propagation => propagation::measure().await,
            Self::ReplicaStart => replica_start::measure().await,
            Self::Failover => failover::measure().await,
            Self::CollectorLoss => collector_loss::measure().await,
            Self::Cost => cost::measure().await,
            Self::Pools => pools::measure().await,
            Self::Queue => queue::measure().await,
            Self::LargeBodies => large_bodies::measure().await,
            Self::Questions => questions::measure().await,
            Self::Soak => soak::measure(soak).await,
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    for measurement in Measurement::value_variants() {
        let is_selected = if flags.only.is_empty() {
            !(flags.no_soak && *measurement == Measurement::Soak)
        } else {
            flags.only.contains(measurement)
        };
        if is_selected {
            let section = measurement.measure(flags.soak).await;
            println!("{}", section.with_context(|| format!("{measurement:?}"))?.markdown());
        }
    }
    Ok(())
}
