//! The command `cargo xtask fuzz`: runs targets on random inputs for a given time.

use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Parser;
use signalbox_fuzz::{Mutator, Target};

/// Fuzzes every parser of untrusted input, and flow control, with random changes of valid inputs
#[derive(Debug, Parser)]
#[command(name = "cargo xtask fuzz", bin_name = "cargo xtask fuzz")]
struct Flags {
    /// Target to fuzz; repeat it for several (default: all targets)
    #[arg(long, value_enum, value_name = "TARGET")]
    target: Vec<Target>,
    /// Time for each target
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    time: Duration,
    /// Seed of the random changes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run the targets once on the content of this file, such as an input that failed
    #[arg(long, value_name = "FILE", conflicts_with = "time")]
    file: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let targets = if flags.target.is_empty() { &Target::ALL[..] } else { &flags.target };
    for target in targets {
        if let Some(file) = &flags.file {
            target.run(&fs::read(file)?);
            continue;
        }
        let (mut mutator, started) =
            (Mutator::new(target.seeds()?, target.dictionary(), flags.seed), Instant::now());
        let mut runs = 0_u64;
        while started.elapsed() < flags.time {
            let data = mutator.next_input();
            if catch_unwind(|| target.run(&data)).is_err() {
                let file = std::env::temp_dir().join(format!("signalbox-fuzz-{}-{runs}", target.name()));
                fs::write(&file, &data)?;
                bail!(
                    "{name} panicked; repeat it with `cargo xtask fuzz --target {name} --file {}`",
                    file.display(),
                    name = target.name()
                );
            }
            runs += 1;
        }
        println!("{}: {runs} runs in {} s, no failure", target.name(), started.elapsed().as_secs());
    }
    Ok(())
}
