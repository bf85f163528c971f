//! Panics as log lines, told by whoever catches them, who knows what they were about.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

thread_local! {
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was caught: where it was, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(String);

impl Fault {
    /// The last one on this thread that somebody else has caught within a [`catch_fault`].
    pub fn last() -> Self {
        Self(LAST.take().unwrap_or_else(|| "a panic of which nothing is known".to_owned()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `run` gives. A panic in it is not printed, it is for the caller to log.
///
/// # Errors
/// The panic in it.
pub fn catch_fault<T>(run: impl FnOnce() -> T) -> Result<T, Fault> {
    let was_caught = IS_CAUGHT.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    IS_CAUGHT.set(was_caught);
    outcome.map_err(|_| Fault::last())
}

/// From now on panics that nobody catches are log lines.
pub(crate) fn log_faults() {
    std::panic::set_hook(Box::new(|info| {
        let text = text(info);
        if IS_CAUGHT.get() {
            LAST.set(Some(text));
        } else {
            tracing::error!(fault = text, "a fault");
        }
    }));
}

/// In one line, with a backtrace where `RUST_BACKTRACE` asks for one.
fn text(info: &PanicHookInfo<'_>) -> String {
    let said = info.payload().downcast_ref::<&str>().copied();
    let said = said.or_else(|| info.payload().downcast_ref::<String>().map(String::as_str));
    let said = said.unwrap_or("panicked");
    let place = info.location().map(|place| format!(" at {place}")).unwrap_or_default();
    let trace = Backtrace::capture();
    match trace.status() {
        BacktraceStatus::Captured => format!("{said}{place}\n{trace}"),
        _ => format!("{said}{place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_catches_a_fault_reads_what_it_was() {
        log_faults();
        assert_eq!(Ok(1), catch_fault(|| 1));
        let fault = catch_fault(|| panic!("as it is meant {}", "here")).unwrap_err().to_string();
        assert!(fault.starts_with("as it is meant here at libs/telemetry/src/faults.rs:"), "{fault}");
        let inner = catch_fault(|| {
            assert!(catch_unwind(|| panic!("within")).is_err());
            Fault::last()
        });
        assert!(inner.unwrap().to_string().starts_with("within at "));
        let outer = catch_fault(|| {
            assert!(catch_fault(|| panic!("within")).is_err());
            panic!("after it")
        });
        assert!(outer.unwrap_err().to_string().starts_with("after it at "));
    }
}
