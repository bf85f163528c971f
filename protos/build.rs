//! Compiles the .proto files in pure Rust: no `protoc` needs to be installed.

use std::error::Error;

const FILES: [&str; 3] = [
    "proto/envoy/service/ext_proc/v3/external_processor.proto",
    "proto/envoy/service/accesslog/v3/als.proto",
    "proto/signalbox/v1/pool.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    // Bodies and header values are slices of the received frame, never copies of it.
    tonic_prost_build::configure().bytes(".envoy").compile_fds(descriptors)?;
    Ok(())
}
