//! Bodies: how gateways send them, how request bodies are buffered, and how much memory they may take.

pub(crate) mod budget;
pub(crate) mod buffer;
pub(crate) mod modes;
