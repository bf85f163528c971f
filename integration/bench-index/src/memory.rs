//! Measures the memory of the indexes.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::indexes::{DynamoCompressed, DynamoRadix, KvIndex, PrefixIndex, Signalbox};
use crate::operations::OperationStream;

/// Name of the program that counts allocations.
const PROGRAM: &str = "signalbox-bench-index-memory";

/// Returns the bytes of each index in each scene, which the other program measures with the arguments of this one.
///
/// # Errors
/// Fails when that program cannot be run.
pub(crate) fn measure_in_child() -> anyhow::Result<Vec<Vec<i64>>> {
    let program = std::env::current_exe().context("cannot find this program")?.with_file_name(PROGRAM);
    let mut command = Command::new(&program);
    let output = command.args(std::env::args_os().skip(1)).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| {
        format!(
            "cannot run {}; build it with cargo build --release --bins, as cargo xtask bench index does",
            program.display()
        )
    })?;
    ensure!(output.status.success(), "{} failed: {}", program.display(), output.status);
    serde_json::from_slice(&output.stdout).context("the measured bytes are no JSON")
}

/// Returns how much the allocated bytes grow while each index applies the stream.
pub(crate) fn measure(stream: &OperationStream<'_>, allocated_bytes: fn() -> isize) -> Vec<i64> {
    vec![
        growth::<Signalbox>(stream, allocated_bytes),
        growth::<KvIndex>(stream, allocated_bytes),
        growth::<DynamoRadix>(stream, allocated_bytes),
        growth::<DynamoCompressed>(stream, allocated_bytes),
    ]
}

fn growth<'a, I: PrefixIndex<'a>>(stream: &OperationStream<'a>, allocated_bytes: fn() -> isize) -> i64 {
    let before = allocated_bytes();
    let mut index = I::new(stream);
    for (first, (_, operations)) in stream.numbered_batches() {
        let mut writes = I::prepare_writes(stream, operations, first);
        index.write(&mut writes);
    }
    (allocated_bytes() - before) as i64
}
