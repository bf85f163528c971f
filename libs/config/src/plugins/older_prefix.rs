//! Parameters of `prefix-cache-scorer` in older releases of the Go EPP. There, the scorer kept the prefixes itself;
//! now `approx-prefix-cache-producer` does.

use crate::diagnostics::Diagnostics;
use crate::parameters::{Bounds, Parameters};

/// Names of counts, and of the parameters of the producer that they are now.
const COUNTS: [(&str, &str); 7] = [
    ("hashBlockSize", "blockSizeTokens (in tokens instead of characters)"),
    ("blockSize", "blockSizeTokens (in tokens instead of characters)"),
    ("blockSizeTokens", "blockSizeTokens"),
    ("maxPrefixBlocksToMatch", "maxPrefixBlocksToMatch"),
    ("maxPrefixTokensToMatch", "maxPrefixTokensToMatch"),
    ("lruCapacityPerServer", "lruCapacityPerServer"),
    ("lruIndexerCapacity", "lruCapacityPerServer"),
];
const AUTO_TUNE: &str = "autoTune";
const MODE: &str = "mode";

/// Returns the names of all these parameters.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    COUNTS.into_iter().map(|(name, _)| name).chain([AUTO_TUNE, MODE])
}

/// Checks these parameters, and warns of each with where it went.
pub(super) fn check(parameters: &Parameters<'_>, diagnostics: &mut Diagnostics) {
    const EFFECT: &str = "without effect here: the pool's prefix index covers the whole prompt in blocks of one size, up to each endpoint's KV cache capacity";
    let warn = |name: &str, now: &str, diagnostics: &mut Diagnostics| {
        let Some(at) = parameters.optional(name) else { return };
        let message = format!(
            "is the form of older releases; it is now the parameter {now} of approx-prefix-cache-producer, {EFFECT}"
        );
        diagnostics.add_warning(&at, message);
    };
    for (name, now) in COUNTS {
        parameters.number(name, 0.0, Bounds::COUNT, &mut diagnostics.problems);
        warn(name, now, diagnostics);
    }
    parameters.boolean(AUTO_TUNE, true, &mut diagnostics.problems);
    warn(AUTO_TUNE, AUTO_TUNE, diagnostics);
    match parameters.text(MODE, &mut diagnostics.problems) {
        None => {}
        Some("estimate") => {
            if let Some(at) = parameters.optional(MODE) {
                diagnostics.add_warning(
                    &at,
                    "is the form of older releases, without effect: prefixes are always estimated; remove it",
                );
            }
        }
        Some(_) => {
            if let Some(at) = parameters.optional(MODE) {
                let message = "only estimate is supported: exact prefixes need KV-cache events, which are not supported yet; remove it";
                diagnostics.add_problem(&at, message);
            }
        }
    }
}
