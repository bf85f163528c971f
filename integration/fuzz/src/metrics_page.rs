//! Fuzzes the parsers of metrics pages.

use signalbox_dialect::metrics::parse;
use signalbox_types::{Engine, PPM};

/// Parses the data as a page of every engine, and checks the range of the sample.
pub(crate) fn run(data: &[u8]) {
    for engine in Engine::ALL {
        let Ok(sample) = parse(&engine, data) else { continue };
        let used_ppm = sample.gauges.kv_used_ppm.unwrap_or(0);
        assert!(used_ppm <= PPM, "{engine}: KV cache usage is {used_ppm} ppm");
    }
}
