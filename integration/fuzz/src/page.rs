//! Metrics pages.

use signalbox_dialect::metrics::read;
use signalbox_types::{Engine, PPM};

/// Reads them as a page of every engine; what comes of it can be used.
pub(crate) fn run(data: &[u8]) {
    for engine in Engine::ALL {
        let Ok(sample) = read(engine, data) else { continue };
        let used_ppm = sample.gauges.kv_used_ppm.unwrap_or(0);
        assert!(used_ppm <= PPM, "{engine}: {used_ppm} ppm of a KV cache are in use");
    }
}
