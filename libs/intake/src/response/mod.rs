//! Reads usage from responses, and restores the model name that the client asked for.
//!
//! Responses are processed while they pass through, in pieces of any size. At most a line, a value or a
//! message is buffered, each up to a limit. The result does not depend on how the response is split.

mod format;
mod model_name;
mod usage;

pub use format::ResponseFormat;
pub use model_name::ModelRenamer;
pub use usage::{Usage, UsageReader};
