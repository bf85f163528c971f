//! Property tests: any text is either a configuration or has problems; parsing never panics.

use proptest::prelude::*;
use signalbox_config::{describe, parse};

use crate::support::{GO_DEFAULT, HEAD};

/// Generates valid and invalid pieces of files.
fn fragment() -> impl Strategy<Value = String> {
    let pieces = [
        "plugins:\n",
        "- type: ",
        "queue-scorer\n",
        "decode-filter\n",
        "by-label\n",
        "schedulingProfiles:\n",
        "- name: a\n",
        "  plugins:\n",
        "  - pluginRef: ",
        "  weight: ",
        "-1\n",
        ".nan\n",
        "{",
        "}",
        "[",
        "]",
        ": ",
        "parameters:\n",
        "null",
        "\"",
        "'",
        "\n",
        "  ",
        "0x",
        "1e999",
        "session-affinity-filter\n",
        "é",
        "\t",
        "#",
        "utilization-filter\n",
        "conditions: ",
        "metric: ",
        "&a ",
        "*a",
        "!!str ",
        "---\n",
    ];
    prop_oneof![prop::sample::select(pieces.to_vec()).prop_map(str::to_owned), "\\PC{0,6}"]
}

proptest! {
    #[test]
    fn any_text_parses_to_a_configuration_or_problems(parts in prop::collection::vec(fragment(), 0..60)) {
        let text = format!("{HEAD}{}", parts.concat());
        if let Ok(configuration) = parse(&text) {
            prop_assert!(!describe(&configuration).is_empty());
        }
    }

    #[test]
    fn a_damaged_file_is_a_configuration_or_problems(
        at in 0..GO_DEFAULT.len(), removed in 0..40_usize, inserted in fragment(), end in 0..GO_DEFAULT.len(),
    ) {
        let rest = &GO_DEFAULT[(at + removed).min(GO_DEFAULT.len())..];
        let damaged = format!("{}{inserted}{rest}", &GO_DEFAULT[..at]);
        let end = damaged.char_indices().map(|(at, _)| at).nth(end).unwrap_or(0);
        for text in [&damaged, &damaged[..end]] {
            match parse(&format!("{HEAD}{text}")) {
                Ok(configuration) => prop_assert!(!describe(&configuration).is_empty()),
                Err(errors) => prop_assert!(errors.problems().iter().all(|problem| problem.line > 0)),
            }
        }
    }
}
