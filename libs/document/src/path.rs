//! Paths of values within a document, such as `endpoints[2].address`.

use crate::quote::{quoted, shortened};

/// Returns the path of `key` in the mapping at `path`.
pub fn member_path(path: &str, key: &str) -> String {
    let is_word = |key: &str| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    match (path, key) {
        (_, key) if key.is_empty() || !is_word(key) => format!("{path}[{}]", quoted(key)),
        ("", key) => shortened(key),
        (path, key) => format!("{path}.{}", shortened(key)),
    }
}

/// Returns the path of the item at `index`, counted from 0, in the list at `path`.
pub fn item_path(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_not_words_are_quoted_in_paths() {
        assert_eq!(member_path("", "pool"), "pool");
        assert_eq!(member_path(&item_path("endpoints", 2), "address"), "endpoints[2].address");
        assert_eq!(member_path("labels", "app.kubernetes.io/name"), r#"labels["app.kubernetes.io/name"]"#);
        assert_eq!(member_path("labels", ""), r#"labels[""]"#);
    }
}
