//! Prometheus metrics that count events. Gauges that are read off at scrape time are in `admin`.

pub(crate) mod access_log_entries;
pub(crate) mod bounded_labels;
pub(crate) mod counters;
pub(crate) mod flow_control;
pub(crate) mod go_epp;
mod histograms;
pub(crate) mod revocations;
pub(crate) mod unread_prompts;
