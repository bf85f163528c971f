//! Simulated model servers as a process of their own.

use clap::Parser;
use signalbox_modelsim::{Flags, app};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    app::run(&Flags::parse()).await.map_err(Into::into)
}
