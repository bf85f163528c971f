//! Numbers that are not JSON, but that Python's JSON parser, in which engines read requests, accepts: `NaN`, `Infinity`
//! and `-Infinity`.

use super::depth::skip_string;

/// The names of such numbers, without a sign.
const NAMES: [&[u8]; 2] = [b"NaN", b"Infinity"];

/// Returns `body` with each such number replaced by a zero of the same length, so that all positions in it stay. Returns
/// `None` if it has none.
pub(crate) fn with_finite_numbers(body: &[u8]) -> Option<Vec<u8>> {
    let mut finite: Option<Vec<u8>> = None;
    let (mut rest, mut before) = (body, 0_u8);
    while let [first, after @ ..] = rest {
        let name = NAMES.iter().find(|name| rest.starts_with(name) && !before.is_ascii_alphanumeric());
        if *first == b'"' {
            rest = skip_string(after);
        } else if let Some(name) = name {
            let at = body.len() - rest.len();
            let number = &mut finite.get_or_insert_with(|| body.to_vec())[at..at + name.len()];
            number.fill(b' ');
            number[0] = b'0';
            rest = &rest[name.len()..];
        } else {
            rest = after;
        }
        before = *first;
    }
    finite
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_strings_become_zeros() {
        let finite =
            |json: &str| with_finite_numbers(json.as_bytes()).map(|json| String::from_utf8(json).unwrap());
        assert_eq!(
            finite(r#"{"a":NaN,"b\"NaN":[-Infinity, Infinity]}"#).unwrap(),
            r#"{"a":0  ,"b\"NaN":[-0       , 0       ]}"#
        );
        for json in [r#"{"a":"NaN","b":[1]}"#, "1NaN", "aInfinity", ""] {
            assert_eq!(finite(json), None, "{json}");
        }
    }
}
