//! Input as it is shown in messages: on one line, and never long.

/// The longest piece of input that a message repeats, in characters.
const SHOWN_CHARS: usize = 64;

/// The longest name for which a similar one is looked for, in bytes.
const SIMILAR_MAX_BYTES: usize = 64;

/// `text` escaped and cut, without quotes.
pub fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect::<String>().escape_debug().to_string();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// `text` escaped and cut, in double quotes.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text))
}

/// The path of `key` in the mapping at `path`.
pub fn member(path: &str, key: &str) -> String {
    let is_word = |key: &str| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    match (path, key) {
        (_, key) if key.is_empty() || !is_word(key) => format!("{path}[{}]", quoted(key)),
        ("", key) => shortened(key),
        (path, key) => format!("{path}.{}", shortened(key)),
    }
}

/// The path of the item at `index`, from 0, of the list at `path`.
pub fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// The one of `known` that `name` was meant to be, if it is close to any.
pub fn similar(name: &str, known: &[&'static str]) -> Option<&'static str> {
    if name.len() > SIMILAR_MAX_BYTES {
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
    fn input_is_shown_on_one_short_line() {
        assert_eq!(quoted("a\nb\"c"), r#""a\nb\"c""#);
        assert_eq!(quoted(&"é".repeat(65)), format!("\"{}…\"", "é".repeat(64)));
    }

    #[test]
    fn paths() {
        assert_eq!(member("", "pool"), "pool");
        assert_eq!(member(&item("endpoints", 2), "address"), "endpoints[2].address");
        assert_eq!(member("labels", "app.kubernetes.io/name"), r#"labels["app.kubernetes.io/name"]"#);
        assert_eq!(member("labels", ""), r#"labels[""]"#);
    }

    #[test]
    fn similar_names() {
        let known = ["name", "address", "metricsUrl"];
        assert_eq!(similar("metrics_url", &known), Some("metricsUrl"));
        assert_eq!(similar("nmae", &known), Some("name"));
        assert_eq!(similar("adress", &known), Some("address"));
        assert_eq!(similar("weight", &known), None);
        assert_eq!(similar("", &known), None);
    }
}
