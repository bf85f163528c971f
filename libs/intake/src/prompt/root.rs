//! The root of a chain: what separates prompts that consist of the same bytes.

use std::borrow::Cow;

use xxhash_rust::xxh3::Xxh3;

use crate::prompt::canonical::read_tokens;
use crate::prompt::marks::{END, FIELD};

/// What a prompt consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Text, which its engine tokenizes.
    Text,
    /// Token ids.
    TokenIds,
}

/// What separates prompts: the model, and fields of the body such as a cache salt or an adapter's path. They
/// are in the seed of the chain, so that they do not shift the block boundaries.
#[derive(Clone, Copy)]
pub(crate) struct Root<'a> {
    /// Name of the model that serves the request.
    pub(crate) model: &'a str,
    /// What the prompt consists of. Text can contain any byte and must not be mistaken for ids.
    pub(crate) form: Form,
    /// The fields with their values in JSON. A value that is missing, null or an empty string counts as none.
    pub(crate) fields: &'a [(&'static str, Option<&'a str>)],
}

impl<'a> Root<'a> {
    /// Returns the seed of the chain: the name of the model alone if nothing else separates the prompt, else
    /// a digest of the rest before the name. A name that could be mistaken for a digest gets one as well.
    pub(crate) fn seed(&self) -> Cow<'a, str> {
        let mut digest = Xxh3::new();
        let mut is_plain = self.form == Form::Text && !self.model.starts_with('\u{1f}');
        if self.form == Form::TokenIds {
            digest.update(b"ids");
        }
        for (name, value) in self.fields {
            let Some(value) = value.filter(|value| !matches!(*value, "null" | "\"\"")) else { continue };
            is_plain = false;
            digest.update(&[FIELD]);
            digest.update(name.as_bytes());
            digest.update(&[END]);
            read_tokens(value, 0, |token| token.write_to(|bytes| digest.update(bytes)));
        }
        if is_plain {
            Cow::Borrowed(self.model)
        } else {
            Cow::Owned(format!("\u{1f}{:032x}{}", digest.digest128(), self.model))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(model: &str, form: Form, fields: &[(&'static str, Option<&str>)]) -> String {
        Root { model, form, fields }.seed().into_owned()
    }

    #[test]
    fn seeds_of_different_roots_differ() {
        let salted = seed("m", Form::Text, &[("cache_salt", Some("\"s\""))]);
        let seeds = [
            seed("m", Form::Text, &[]),
            seed("m", Form::TokenIds, &[]),
            salted.clone(),
            seed("m", Form::TokenIds, &[("cache_salt", Some("\"s\""))]),
            seed("m", Form::Text, &[("lora_path", Some("\"s\""))]),
            seed("m", Form::Text, &[("cache_salt", Some("\"s\"")), ("lora_path", Some("\"s\""))]),
            seed("m", Form::Text, &[("cache_salt", Some("[\"s\"]"))]),
            seed("m", Form::Text, &[("cache_salt", Some("\"t\""))]),
            seed("n", Form::Text, &[("cache_salt", Some("\"s\""))]),
            seed(&salted, Form::Text, &[]),
            seed("\u{1f}m", Form::Text, &[]),
            seed("", Form::Text, &[]),
        ];
        assert_eq!(seeds[0], "m");
        for (at, one) in seeds.iter().enumerate() {
            assert!(!seeds[..at].contains(one), "{one:?}");
        }
    }

    #[test]
    fn empty_fields_and_escapes_make_no_difference() {
        let salted = |salt| seed("m", Form::Text, &[("cache_salt", salt)]);
        assert_eq!([salted(None), salted(Some("null")), salted(Some("\"\""))], ["m", "m", "m"]);
        assert_eq!(salted(Some("\"\u{4e2d}\"")), salted(Some("\"\\u4e2d\"")));
    }
}
