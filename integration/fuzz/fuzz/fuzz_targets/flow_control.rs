#![no_main]

use libfuzzer_sys::fuzz_target;
use signalbox_fuzz::Target;

fuzz_target!(|data: &[u8]| Target::FlowControl.run(data));
