//! What benchmarks report: where results come from, means with their standard errors, tables, files, and the report
//! of the benchmark of prefix indexes, which is a workspace of its own.

mod file;
pub mod index;
mod markdown;
mod mean;
mod provenance;

pub use file::{read_report, write_report, write_text};
pub use markdown::{Table, bold_least, short, thousands};
pub use mean::{Mean, max_to_mean, mean};
pub use provenance::{Provenance, checksum};
