//! `cargo xtask fuzz`: bytes made by chance, for as long as is wanted.

use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Parser;
use signalbox_fuzz::{Mutator, Target};

/// Gives bytes without sense to what reads others' bytes.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask fuzz", bin_name = "cargo xtask fuzz")]
struct Flags {
    /// Only this; repeated: only these
    #[arg(long, value_enum, value_name = "WHAT")]
    target: Vec<Target>,
    /// How long each
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    time: Duration,
    /// By which chance goes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Instead: give it what is in this file
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
        let (mut mutator, begun) =
            (Mutator::new(target.seeds()?, target.words(), flags.seed), Instant::now());
        let mut runs = 0_u64;
        while begun.elapsed() < flags.time {
            let data = mutator.make();
            if catch_unwind(|| target.run(&data)).is_err() {
                let file = std::env::temp_dir().join(format!("signalbox-fuzz-{}-{runs}", target.name()));
                fs::write(&file, &data)?;
                bail!("{} fails, on what is in {} now", target.name(), file.display());
            }
            runs += 1;
        }
        println!("{}: {runs} runs in {} s, nothing found", target.name(), begun.elapsed().as_secs());
    }
    Ok(())
}
