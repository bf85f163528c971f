//! Names put back.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{prop_assert_eq, proptest};
use proptest::sample::select;
use signalbox_intake::Api;
use signalbox_intake::answer::{AnswerKind, Renamer};

/// The definition: what the text becomes, in one piece.
fn defined(text: &str, target: &str, asked: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    let found = |rest: &str| {
        let places = ["\"model\":", "\"model\": "].map(|key| {
            let place = rest.find(&format!("{key}{}", serde_json::to_string(target).unwrap()));
            place.map(|at| (at, key))
        });
        places.into_iter().flatten().min()
    };
    while let Some((at, key)) = found(rest) {
        out += &format!("{}{key}{}", &rest[..at], serde_json::to_string(asked).unwrap());
        rest = &rest[at + key.len() + target.len() + 2..];
    }
    out + rest
}

/// Of an answer in text.
pub(crate) fn renamer((target, asked): (&str, &str)) -> Renamer {
    Renamer::new(Api::Chat, AnswerKind::Events, target, asked).unwrap()
}

/// What it becomes in pieces, and the most bytes that were held back.
pub(crate) fn renamed(mut text: &[u8], cuts: &[usize], mut renamer: Renamer) -> (Vec<u8>, usize) {
    let (mut out, mut given, mut most) = (Vec::new(), 0, 0);
    for cut in cuts {
        let (piece, rest) = text.split_at((*cut).min(text.len()));
        given += piece.len();
        renamer
            .push(Bytes::copy_from_slice(piece), false)
            .iter()
            .for_each(|piece| out.extend_from_slice(piece));
        most = most.max(given.saturating_sub(out.len()));
        text = rest;
    }
    renamer.push(Bytes::copy_from_slice(text), true).iter().for_each(|piece| out.extend_from_slice(piece));
    (out, most)
}

#[test]
fn both_spacings_are_replaced_and_nothing_else() {
    let text = r#"{"model":"a/b","x":"model","model": "a/b","model":  "a/b","model":"a/bc","models":"a/b"}"#;
    let expected = r#"{"model":"gpt \"4\"","x":"model","model": "gpt \"4\"","model":  "a/b","model":"a/bc","models":"a/b"}"#;
    for len in 1..text.len() {
        let cuts = vec![len; text.len() / len];
        let (out, _) = renamed(text.as_bytes(), &cuts, renamer(("a/b", "gpt \"4\"")));
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{len}");
    }
}

#[test]
fn what_does_not_change_is_not_copied() {
    let piece = Bytes::from(format!(r#"data: {{"x":1,"model":"m","y":"{}"}}"#, "z".repeat(1_000)));
    let mut renamer = renamer(("m", "asked"));
    let out = renamer.push(piece.clone(), false);
    assert_eq!(out.len(), 3);
    for slice in [&out[0], &out[2]] {
        assert!(piece.as_ptr_range().contains(&slice.as_ptr()));
    }
    assert!(renamer.push(Bytes::new(), true).is_empty());
}

#[test]
fn what_is_held_back_is_released_at_the_end() {
    let mut renamer = renamer(("m", "asked"));
    assert_eq!(renamer.push(Bytes::from_static(b"a\"model\": \"m"), false)[..], ["a"]);
    assert!(renamer.push(Bytes::new(), false).is_empty());
    assert_eq!(renamer.push(Bytes::new(), true)[..], ["\"model\": \"m"]);
}

proptest! {
    #[test]
    fn any_cut_gives_the_same(
        words in vec(select(vec!["\"model\":", "\"model\"", "\"mo", " ", "\"model\": ", "\"m\"", "\"m", "\"model", "x", ",", "\""]), 0..30),
        cuts in vec(0_usize..12, 0..40),
        target in select(vec!["m", "model", "mm", "x"]),
    ) {
        let text = words.concat();
        let (out, most_held) = renamed(text.as_bytes(), &cuts, renamer((target, target)));
        prop_assert_eq!(&out, text.as_bytes());
        prop_assert_eq!(most_held <= "\"model\": \"".len() + target.len(), true);
        let (out, _) = renamed(text.as_bytes(), &cuts, renamer((target, "another")));
        prop_assert_eq!(String::from_utf8(out).unwrap(), defined(&text, target, "another"));
    }
}
