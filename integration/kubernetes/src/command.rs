//! Runs a program to its end.

use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Runs a command with this input and returns its standard output.
///
/// # Errors
/// Fails when it cannot be started, or with everything that it printed when it fails.
pub(crate) async fn output(command: &mut Command, input: &str) -> anyhow::Result<String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.kill_on_drop(true).spawn().with_context(|| format!("cannot start {name}"))?;
    let mut pipe = child.stdin.take().context("a command without input")?;
    // A command that does not read its input closes the pipe. Its exit status says whether that is an error.
    let _ = pipe.write_all(input.as_bytes()).await;
    drop(pipe);
    let output = child.wait_with_output().await?;
    let [printed, errors] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if !output.status.success() {
        let arguments: Vec<_> =
            command.as_std().get_args().map(|argument| argument.to_string_lossy()).collect();
        bail!("`{name} {}` failed: {}\n{printed}{errors}", arguments.join(" "), output.status);
    }
    Ok(printed)
}
