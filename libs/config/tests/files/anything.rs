//! Anything at all: it is a configuration or it has problems, and nothing panics.

use proptest::prelude::*;
use signalbox_config::{describe, parse};

use crate::support::{GO_DEFAULT, HEAD};

/// Pieces of files, right and wrong.
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
    fn any_text_is_a_configuration_or_problems(parts in prop::collection::vec(fragment(), 0..60)) {
        let text = format!("{HEAD}{}", parts.concat());
        if let Ok(read) = parse(&text) {
            prop_assert!(!describe(&read).is_empty());
        }
    }

    #[test]
    fn a_damaged_file_is_a_configuration_or_problems(
        at in 0..GO_DEFAULT.len(), cut in 0..40_usize, with in fragment(), then in 0..GO_DEFAULT.len(),
    ) {
        let damaged = format!("{}{with}{}", &GO_DEFAULT[..at], &GO_DEFAULT[(at + cut).min(GO_DEFAULT.len())..]);
        let then = damaged.char_indices().map(|(at, _)| at).nth(then).unwrap_or(0);
        for text in [&damaged, &damaged[..then]] {
            match parse(&format!("{HEAD}{text}")) {
                Ok(read) => prop_assert!(!describe(&read).is_empty()),
                Err(errors) => prop_assert!(errors.problems().iter().all(|problem| problem.line > 0)),
            }
        }
    }
}
