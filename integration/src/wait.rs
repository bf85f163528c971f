//! Waits for conditions.

use std::time::{Duration, Instant};

use anyhow::Context;

/// After this time, the condition will not become true even on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(20);

/// Repeats `check` until it succeeds and returns its result.
///
/// # Errors
/// Fails after a minute with the last error of `check`; `what` names the condition.
pub async fn eventually<T>(
    what: &str,
    mut check: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        let error = match check().await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        if started.elapsed() > DEADLINE {
            return Err(error).context(format!("timed out after a minute: {what}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
