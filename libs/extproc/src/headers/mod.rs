//! Reads the headers of requests and responses.

pub(crate) mod control;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod value;
