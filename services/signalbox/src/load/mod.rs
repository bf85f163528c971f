//! `signalbox load`: sends a chosen workload to a gateway or model server and says how it was served.
//!
//! Pure parts: [`workload`] (made prompts), [`adapters`], [`requests`] and [`asking`] (what is sent), [`schedule`] (when), [`sse`] and [`answer`] (what comes back),
//! [`tally`] and [`report`] (what it amounts to), [`table`] (how it is shown). [`trace`], [`client`]
//! and [`mod@run`] are the shell.

mod adapters;
mod answer;
mod args;
mod asking;
mod client;
#[cfg(test)]
mod end_to_end;
mod report;
mod requests;
mod run;
mod schedule;
mod sse;
mod table;
mod tally;
mod trace;
mod workload;

pub(crate) use args::LoadArgs;
pub(crate) use run::{LoadError, Served, run};
