//! Waiting for a condition.

use std::time::{Duration, Instant};

use anyhow::Context;

/// By then whatever is waited for has gone wrong, on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(20);

/// Tries `check` until it succeeds and returns what it found.
///
/// # Errors
/// After a minute, the last error of `check`, with `what` was waited for.
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
            return Err(error).context(format!("waited a minute in vain: {what}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
