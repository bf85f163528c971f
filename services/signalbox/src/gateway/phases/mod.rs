//! The phases of a request: routing, forwarding the request body, relaying the response.

pub(super) mod request_body;
pub(super) mod response;
pub(super) mod routing;
