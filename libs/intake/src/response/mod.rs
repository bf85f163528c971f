//! Reads responses: when they have produced output, the errors and the usage they report, and the model name
//! that the client asked for, which is restored.
//!
//! Responses are processed while they pass through, in pieces of any size. At most a line, a value or a
//! message is buffered, each up to a limit. The result does not depend on how the response is split.

mod error;
mod event;
mod format;
mod json_value;
mod model_name;
mod reader;
mod usage;

pub use error::ResponseError;
pub use format::ResponseFormat;
pub use model_name::ModelRenamer;
pub use reader::{OutputForm, ResponseReader};
pub use usage::Usage;
