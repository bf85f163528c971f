//! Classifies scalars as YAML 1.2 does (core schema).

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: YAML derives the type from the text.
    Plain,
    /// In quotes, as a block or tagged `!!str`: always text.
    Text,
}

/// The type of a scalar in the core schema of YAML 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Empty, `~` or `null`.
    Null,
    /// `true` or `false`.
    Boolean,
    /// An integer, a fraction, infinity or not-a-number.
    Number,
    /// Anything else.
    Text,
}

impl Kind {
    /// Returns the type of a scalar with this `text`, written in `style`.
    pub fn of(text: &str, style: Style) -> Self {
        match text {
            _ if style == Style::Text => Self::Text,
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Self::Boolean,
            number if is_number(number) => Self::Number,
            _ => Self::Text,
        }
    }

    /// Returns the name of the type for messages, such as `a number`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Text => "text",
        }
    }
}

/// Returns the value of a scalar of type [`Kind::Number`]. Integers above `u64::MAX` in base 8 or 16 give
/// infinity.
pub(crate) fn parse_number(text: &str) -> Option<f64> {
    let radix = |digits: &str, radix| {
        let number = u64::from_str_radix(digits, radix);
        Some(number.map_or(f64::INFINITY, |number| number as f64))
    };
    match text {
        _ if text.starts_with("0x") => radix(&text[2..], 16),
        _ if text.starts_with("0o") => radix(&text[2..], 8),
        ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}

fn is_number(text: &str) -> bool {
    let all = |digits: &str, radix| !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return all(digits, 8);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => true,
        _ if [".nan", ".NaN", ".NAN"].contains(&text) => true,
        // Rust parses `inf` and `nan` without a dot; in YAML they are text.
        _ => {
            unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
                && text.parse::<f64>().is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_have_the_types_of_yaml_1_2() {
        for (text, kind) in [
            ("", Kind::Null),
            ("~", Kind::Null),
            ("true", Kind::Boolean),
            ("yes", Kind::Text),
            ("-12", Kind::Number),
            ("1.5e3", Kind::Number),
            (".5", Kind::Number),
            ("0x1F", Kind::Number),
            ("-.inf", Kind::Number),
            (".nan", Kind::Number),
            ("inf", Kind::Text),
            ("nan", Kind::Text),
            ("-.nan", Kind::Text),
            (".", Kind::Text),
            ("1.2.3", Kind::Text),
            ("10.0.0.1:80", Kind::Text),
            ("-", Kind::Text),
        ] {
            assert_eq!(Kind::of(text, Style::Plain), kind, "{text}");
            assert_eq!(Kind::of(text, Style::Text), Kind::Text, "{text}");
            assert!(kind != Kind::Number || parse_number(text).is_some(), "{text}");
        }
    }

    #[test]
    fn numbers_have_the_values_of_yaml_1_2() {
        assert_eq!(Some(31.0), parse_number("0x1F"));
        assert_eq!(Some(8.0), parse_number("0o10"));
        assert_eq!(Some(-1.5), parse_number("-1.5"));
        assert_eq!(Some(f64::NEG_INFINITY), parse_number("-.inf"));
        assert!(parse_number(".nan").is_some_and(f64::is_nan));
    }
}
