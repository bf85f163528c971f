//! Formats input for messages: on one line and of bounded length.

/// Length of the longest piece of input that a message repeats, in characters.
const MAX_SHOWN_CHARS: usize = 64;

/// Returns `text` escaped and cut to a bounded length, without quotes.
pub fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN_CHARS).collect::<String>().escape_debug().to_string();
    if text.chars().nth(MAX_SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// Returns `text` escaped and cut to a bounded length, in double quotes.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_shown_on_one_short_line() {
        assert_eq!(quoted("a\nb\"c"), r#""a\nb\"c""#);
        assert_eq!(quoted(&"é".repeat(65)), format!("\"{}…\"", "é".repeat(64)));
    }
}
