//! `signalbox load`: sends a workload to a gateway or model server and reports how it was served.
//!
//! The pure parts are [`requests`] (what is sent), [`schedule`] (when), the parsers in [`client`] (responses)
//! and [`results`] (statistics, report, table). [`client`], [`mod@run`] and reading a trace do the IO.

mod args;
mod client;
mod requests;
mod results;
mod run;
mod schedule;
#[cfg(test)]
mod tests;

pub(crate) use args::{LoadArgs, PlanError};
pub(crate) use run::{LoadError, Served, run};
