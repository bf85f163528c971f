//! Compiles the .proto files in pure Rust, so that `protoc` does not need to be installed.

use std::error::Error;
use std::path::PathBuf;

const EXT_PROC: &str = "proto/envoy/service/ext_proc/v3/external_processor.proto";

const FILES: [&str; 5] = [
    EXT_PROC,
    "proto/envoy/service/accesslog/v3/als.proto",
    "proto/keda/externalscaler.proto",
    "proto/signalbox/v1/pool.proto",
    "proto/signalbox/v1/fleet.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut shown = protox::Compiler::new(["proto"])?;
    let shown = shown.open_file(EXT_PROC)?.include_imports(true).encode_file_descriptor_set();
    std::fs::write(out.join("ext_proc.bin"), shown)?;
    let descriptors = protox::compile(FILES, ["proto"])?;
    // Bodies and header values are slices of the received frame, not copies.
    tonic_prost_build::configure().bytes(".envoy").bytes(".signalbox").compile_fds(descriptors)?;
    Ok(())
}
