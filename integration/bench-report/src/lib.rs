//! What benchmarks report: where results come from, means with their standard errors, tables, and the report
//! of the benchmark of prefix indexes, which is a workspace of its own.

pub mod index;
mod markdown;
mod mean;
mod provenance;

pub use markdown::{Table, bold_least, short, thousands};
pub use mean::{Mean, max_to_mean};
pub use provenance::{Provenance, checksum};
