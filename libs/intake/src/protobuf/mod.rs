//! Reads protobuf messages in place, and the gRPC frames and HTTP bodies around them.

pub(crate) mod fields;
pub(crate) mod grpc_frame;
pub(crate) mod http_body;
