//! Reads names.

use signalbox_document::{Fields, Located, Problems, quoted};

/// Maximum length of a name in bytes, as in Kubernetes.
const MAX_NAME_BYTES: usize = 253;

/// Reads a name that can be printed on one line and used as a metric label.
pub fn read_name(at: &Located<'_>, problems: &mut Problems) -> Option<String> {
    at.parse(at.text(problems)?, name, problems)
}

/// Reads the name of a model, which can be any text, from the field `field`.
pub(crate) fn read_model(fields: &Fields<'_>, field: &str, problems: &mut Problems) -> Option<String> {
    let at = fields.required(field, "MODEL", problems)?;
    at.parse(at.text(problems)?, model, problems)
}

fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("must not be empty; write a name".to_owned());
    }
    if text.trim() != text || text.contains(char::is_control) {
        return Err(format!(
            "{} has surrounding white space or control characters; remove them",
            quoted(text)
        ));
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(format!("{} is longer than {MAX_NAME_BYTES} bytes; shorten it", quoted(text)));
    }
    Ok(text.to_owned())
}

fn model(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("must not be empty; write the name of a model".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_or_rejected() {
        assert!(name("pod-a").is_ok());
        for bad in ["", "  ", " a", "a\nb", &"a".repeat(254)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
