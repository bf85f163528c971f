//! Catches panics and turns them into log lines. The code that catches a panic logs it, because it knows the
//! context. Panics of tasks are caught by Tokio, and logged here as uncaught.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

thread_local! {
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The location and message of a caught panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaughtPanic(String);

impl CaughtPanic {
    /// Returns the last panic on this thread that other code caught within [`catch_panic`].
    pub fn last() -> Self {
        Self(LAST_PANIC.take().unwrap_or_else(|| "unknown panic".to_owned()))
    }
}

impl fmt::Display for CaughtPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the result of `run`. A panic in it is not logged; the caller must log it.
///
/// # Errors
/// `run` panicked.
pub fn catch_panic<T>(run: impl FnOnce() -> T) -> Result<T, CaughtPanic> {
    let was_caught = IS_CAUGHT.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    IS_CAUGHT.set(was_caught);
    outcome.map_err(|_| CaughtPanic::last())
}

/// Logs panics that no code catches, from now on.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = describe(info);
        if IS_CAUGHT.get() {
            LAST_PANIC.set(Some(text));
        } else {
            tracing::error!(panic = text, "uncaught panic");
        }
    }));
}

/// Returns the message and location on one line, followed by a backtrace if `RUST_BACKTRACE` asks for one.
fn describe(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload().downcast_ref::<&str>().copied();
    let message = message.or_else(|| info.payload().downcast_ref::<String>().map(String::as_str));
    let message = message.unwrap_or("panicked");
    let location = info.location().map(|location| format!(" at {location}")).unwrap_or_default();
    let trace = Backtrace::capture();
    match trace.status() {
        BacktraceStatus::Captured => format!("{message}{location}\n{trace}"),
        _ => format!("{message}{location}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caught_panic_has_its_message_and_location() {
        log_panics();
        assert_eq!(Ok(1), catch_panic(|| 1));
        let caught = catch_panic(|| panic!("intended {}", "here")).unwrap_err().to_string();
        assert!(caught.starts_with("intended here at libs/telemetry/src/panics.rs:"), "{caught}");
        let inner = catch_panic(|| {
            assert!(catch_unwind(|| panic!("within")).is_err());
            CaughtPanic::last()
        });
        assert!(inner.unwrap().to_string().starts_with("within at "));
        let outer = catch_panic(|| {
            assert!(catch_panic(|| panic!("within")).is_err());
            panic!("after it")
        });
        assert!(outer.unwrap_err().to_string().starts_with("after it at "));
    }
}
