//! Static splits between unequal pods.

use signalbox_modelsim::profiles::Profile;

use super::{Algorithm, Contender, Visibility};

/// How the names of static splits begin.
pub(crate) const SPLIT: &str = "split ";

/// Least and greatest weight of the first kind of pods relative to the others, and the factor between two
/// weights that are tried.
const WEIGHTS: (f64, f64) = (1.0, 64.0);
const STEP: f64 = 1.25;

/// Returns static splits between the first kind of pods and the others, among which the best one is to be found;
/// none if all are alike.
pub(crate) fn splits(profiles: &[&Profile]) -> Vec<Contender> {
    if profiles.windows(2).all(|pair| pair[0] == pair[1]) {
        return Vec::new();
    }
    let split = |ratio: f64| {
        let weight = |profile: &&Profile| if *profile == profiles[0] { ratio } else { 1.0 };
        Contender {
            name: format!("{SPLIT}{ratio:.2}:1"),
            visibility: Visibility::Own,
            algorithm: Algorithm::WeightedRoundRobin(profiles.iter().map(weight).collect()),
        }
    };
    let ratios = std::iter::successors(Some(WEIGHTS.0), |ratio| Some(ratio * STEP));
    ratios.take_while(|ratio| *ratio <= WEIGHTS.1).map(split).collect()
}
