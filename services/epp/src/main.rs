//! An EPP replica as a process of its own.

use clap::Parser;
use signalbox_epp::{Flags, run};

#[tokio::main]
async fn main() -> anyhow::Result<std::process::ExitCode> {
    run(Flags::parse()).await
}
