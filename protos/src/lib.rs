//! The wire contracts: the parts of Envoy's ext-proc and access log protocols that an endpoint picker needs,
//! KEDA's contract with external scalers, and Signalbox's own streams between collectors, aggregators and EPP replicas.
//!
//! `signalbox-wire`, `signalbox-extproc` and, for KEDA, `signalbox-autoscaling` convert the messages to and from domain
//! types. Services and `signalbox-peers` only carry them; no other library uses them.
// Generated code: the documentation is in the .proto files, and prost decides what is boxed.
#![allow(missing_docs, clippy::large_enum_variant)]

mod builders;

/// The ext-proc files and their imports as an encoded `FileDescriptorSet`, for gRPC reflection.
pub const EXT_PROC_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ext_proc.bin"));

/// Field-compatible subsets of Envoy's APIs.
pub mod envoy {
    pub mod service {
        pub mod accesslog {
            pub mod v3 {
                tonic::include_proto!("envoy.service.accesslog.v3");
            }
        }
        pub mod ext_proc {
            pub mod v3 {
                tonic::include_proto!("envoy.service.ext_proc.v3");
            }
        }
    }
    pub mod data {
        pub mod accesslog {
            pub mod v3 {
                tonic::include_proto!("envoy.data.accesslog.v3");
            }
        }
    }
    pub mod config {
        pub mod core {
            pub mod v3 {
                tonic::include_proto!("envoy.config.core.v3");
            }
        }
    }
    pub mod r#type {
        pub mod v3 {
            tonic::include_proto!("envoy.r#type.v3");
        }
    }
}

/// KEDA's contract with external scalers.
pub mod keda {
    pub mod externalscaler {
        tonic::include_proto!("externalscaler");
    }
}

/// Signalbox's own streams.
pub mod signalbox {
    pub mod v1 {
        tonic::include_proto!("signalbox.v1");
    }
}
