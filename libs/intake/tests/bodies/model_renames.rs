//! Restoring model names in responses.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{prop_assert_eq, proptest};
use proptest::sample::select;
use signalbox_intake::Api;
use signalbox_intake::response::{ModelRenamer, ResponseFormat};

/// The reference implementation: renames in a complete text.
fn expected_rename(text: &str, target: &str, requested: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    let found = |rest: &str| {
        let places = ["\"model\":", "\"model\": "].map(|key| {
            let place = rest.find(&format!("{key}{}", serde_json::to_string(target).unwrap()));
            place.map(|at| (at, key))
        });
        places.into_iter().flatten().min()
    };
    while let Some((at, key)) = found(rest) {
        out += &format!("{}{key}{}", &rest[..at], serde_json::to_string(requested).unwrap());
        rest = &rest[at + key.len() + target.len() + 2..];
    }
    out + rest
}

/// Returns a renamer for a text response.
pub(crate) fn renamer((target, requested): (&str, &str)) -> ModelRenamer {
    ModelRenamer::new(Api::Chat, ResponseFormat::EventStream, target, requested).unwrap()
}

/// Renames in pieces; returns the result and the maximum number of bytes held back.
pub(crate) fn rename_in_pieces(
    mut text: &[u8],
    splits: &[usize],
    mut renamer: ModelRenamer,
) -> (Vec<u8>, usize) {
    let (mut out, mut given, mut max_held_bytes) = (Vec::new(), 0, 0);
    for split in splits {
        let (piece, rest) = text.split_at((*split).min(text.len()));
        given += piece.len();
        renamer
            .push(Bytes::copy_from_slice(piece), false)
            .iter()
            .for_each(|piece| out.extend_from_slice(piece));
        max_held_bytes = max_held_bytes.max(given.saturating_sub(out.len()));
        text = rest;
    }
    renamer.push(Bytes::copy_from_slice(text), true).iter().for_each(|piece| out.extend_from_slice(piece));
    (out, max_held_bytes)
}

#[test]
fn name_is_replaced_with_and_without_space() {
    let text = r#"{"model":"a/b","x":"model","model": "a/b","model":  "a/b","model":"a/bc","models":"a/b"}"#;
    let expected = r#"{"model":"gpt \"4\"","x":"model","model": "gpt \"4\"","model":  "a/b","model":"a/bc","models":"a/b"}"#;
    for len in 1..text.len() {
        let splits = vec![len; text.len() / len];
        let (out, _) = rename_in_pieces(text.as_bytes(), &splits, renamer(("a/b", "gpt \"4\"")));
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{len}");
    }
}

#[test]
fn unchanged_bytes_are_not_copied() {
    let piece = Bytes::from(format!(r#"data: {{"x":1,"model":"m","y":"{}"}}"#, "z".repeat(1_000)));
    let mut renamer = renamer(("m", "requested"));
    let out = renamer.push(piece.clone(), false);
    assert_eq!(out.len(), 3);
    for slice in [&out[0], &out[2]] {
        assert!(piece.as_ptr_range().contains(&slice.as_ptr()));
    }
    assert!(renamer.push(Bytes::new(), true).is_empty());
}

#[test]
fn held_bytes_are_released_at_the_end() {
    let mut renamer = renamer(("m", "requested"));
    assert_eq!(renamer.push(Bytes::from_static(b"a\"model\": \"m"), false)[..], ["a"]);
    assert!(renamer.push(Bytes::new(), false).is_empty());
    assert_eq!(renamer.push(Bytes::new(), true)[..], ["\"model\": \"m"]);
}

proptest! {
    #[test]
    fn split_makes_no_difference_to_renames(
        words in vec(select(vec!["\"model\":", "\"model\"", "\"mo", " ", "\"model\": ", "\"m\"", "\"m", "\"model", "x", ",", "\""]), 0..30),
        splits in vec(0_usize..12, 0..40),
        target in select(vec!["m", "model", "mm", "x"]),
    ) {
        let text = words.concat();
        let (out, max_held_bytes) = rename_in_pieces(text.as_bytes(), &splits, renamer((target, target)));
        prop_assert_eq!(&out, text.as_bytes());
        prop_assert_eq!(max_held_bytes <= "\"model\": \"".len() + target.len(), true);
        let (out, _) = rename_in_pieces(text.as_bytes(), &splits, renamer((target, "another")));
        prop_assert_eq!(String::from_utf8(out).unwrap(), expected_rename(&text, target, "another"));
    }
}
