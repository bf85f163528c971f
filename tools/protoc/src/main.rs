//! Replaces protoc for prost-build: accepts the same arguments and writes the same file descriptors.

use std::path::PathBuf;
use std::{env, error::Error, fs};

use prost::Message;
use protox::Compiler;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (mut includes, mut files, mut output) = (Vec::new(), Vec::new(), None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--version" => {
                println!("libprotoc 27.0");
                return Ok(());
            }
            "-I" => includes.extend(arguments.next().map(PathBuf::from)),
            "-o" => output = arguments.next().map(PathBuf::from),
            // The output always includes what these flags request.
            "--include_imports" | "--include_source_info" | "--experimental_allow_proto3_optional" => {}
            flag if flag.starts_with('-') => return Err(format!("unknown flag {flag}").into()),
            file => files.push(PathBuf::from(file)),
        }
    }
    let output = output.ok_or("missing -o FILE")?;
    let mut compiler = Compiler::new(includes)?;
    compiler.include_imports(true).include_source_info(true).open_files(files)?;
    fs::write(output, compiler.file_descriptor_set().encode_to_vec())?;
    Ok(())
}
