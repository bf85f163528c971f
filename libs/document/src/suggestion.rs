//! Suggestions for misspelled names.

/// Length in bytes of the longest name for which a suggestion is computed.
const MAX_NAME_BYTES: usize = 64;

/// Returns the name in `known` that is closest to `name`, if it is close enough to be what the author meant.
pub fn closest_match(name: &str, known: &[&'static str]) -> Option<&'static str> {
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    let name = name.to_lowercase();
    let with_distance =
        known.iter().map(|known| (strsim::damerau_levenshtein(&name, &known.to_lowercase()), *known));
    let (distance, known) = with_distance.min_by_key(|(distance, _)| *distance)?;
    (distance <= known.len() / 3).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_close_names_are_suggested() {
        let known = ["name", "address", "metricsUrl"];
        assert_eq!(closest_match("metrics_url", &known), Some("metricsUrl"));
        assert_eq!(closest_match("nmae", &known), Some("name"));
        assert_eq!(closest_match("adress", &known), Some("address"));
        assert_eq!(closest_match("weight", &known), None);
        assert_eq!(closest_match("", &known), None);
    }
}
