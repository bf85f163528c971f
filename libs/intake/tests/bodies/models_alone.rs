//! APIs of whose bodies only the model is read.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq, proptest};
use signalbox_intake::{Api, ParseOptions, ParsedRequest, Unread, parse, replace_model};

use crate::completions_and_chats::refusal;

fn to_tuned(requested: &str) -> Option<String> {
    (requested == "alias").then(|| "tuned".to_owned())
}

fn read(api: Api, body: &[u8]) -> ParsedRequest {
    parse(api, body, &ParseOptions { rewrite: &to_tuned, ..ParseOptions::new(8) }).unwrap()
}

#[test]
fn model_in_json_is_rewritten_whatever_the_rest_is() {
    for body in [
        r#"{"model":"alias","messages":[{"role":"user","content":"x"}]}"#,
        r#"{"query":"q","documents":["a","b"],"model" : "alias"}"#,
        r#"{"model":"alias"}"#,
        r#"{"x":{"model":"alias"},"model":"alias","input":[[1]]}"#,
    ] {
        let read = read(Api::ModelJson, body.as_bytes());
        assert_eq!((read.request.model.as_str(), read.unread), ("tuned", None));
        let sent = replace_model(Api::ModelJson, &Bytes::from(body), &read.model_span.unwrap(), "tuned");
        let (at, len) = (body.rfind(r#""alias""#).unwrap(), r#""alias""#.len());
        assert_eq!(sent, [&body[..at], r#""tuned""#, &body[at + len..]].concat());
    }
}

#[test]
fn body_that_names_no_model_passes() {
    for body in ["", " ", "{}", r#"{"model":null}"#, r#"{"model":7}"#, r#"{"model":""}"#] {
        let parsed = read(Api::ModelJson, body.as_bytes());
        assert_eq!(parsed, ParsedRequest { api: Api::ModelJson, ..ParsedRequest::default() }, "{body}");
    }
    assert_eq!(read(Api::ModelJson, b"[1]").unread, Some(Unread::Structure));
    for (body, text) in
        [("{", "truncated"), ("{x}", "key must be"), (r#"{"model":"a","model":"b"}"#, "duplicate field")]
    {
        let refused = refusal(parse(Api::ModelJson, body.as_bytes(), &ParseOptions::new(8)));
        assert!(refused.contains(text), "{refused}");
    }
}

/// Returns a form with these parts: their disposition and their value.
fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut form = Vec::new();
    for (disposition, value) in parts {
        let headers = format!("--xYz\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
        form.extend([headers.as_bytes(), value, b"\r\n"].concat());
    }
    form.extend(b"--xYz--\r\n");
    form
}

#[test]
fn model_in_a_form_is_rewritten() {
    let file = (r#"name="file"; filename="model""#, &b"RIFF\r\n--xY\r\n\xff"[..]);
    let other = (r#"name="prompt""#, &b"name=\"model\""[..]);
    for name in ["name=\"model\"", "name=model", "charset=utf-8; Name=\"model\""] {
        let with = |model: &'static [u8]| form(&[file, (name, model), other]);
        let parsed = read(Api::ModelForm, &with(b"alias"));
        assert_eq!(
            (parsed.request.model.as_str(), parsed.requested_model.as_deref()),
            ("tuned", Some("alias"))
        );
        let sent =
            replace_model(Api::ModelForm, &with(b"alias").into(), &parsed.model_span.unwrap(), "tuned");
        assert_eq!(sent, with(b"tuned"), "{name}");
    }
}

#[test]
fn form_without_a_readable_model_passes() {
    let named_file = form(&[(r#"name="model"; filename="m.bin""#, b"alias")]);
    let truncated = &form(&[(r#"name="model""#, b"alias")])[..60];
    for body in [&form(&[])[..], &named_file, truncated, &form(&[(r#"name="model""#, b"")])] {
        assert_eq!(
            read(Api::ModelForm, body),
            ParsedRequest { api: Api::ModelForm, ..ParsedRequest::default() }
        );
    }
    assert_eq!(read(Api::ModelForm, b"no form").unread, Some(Unread::Structure));
    let twice = form(&[(r#"name="model""#, b"a"), (r#"name="model""#, b"b")]);
    let refused = refusal(parse(Api::ModelForm, &twice, &ParseOptions::new(8)));
    assert_eq!(refused, "invalid form: the field `model` occurs twice");
}

proptest! {
    #[test]
    fn forms_with_any_file_keep_it(file in vec(any::<u8>(), 0..300), is_first in any::<bool>()) {
        let with = |model: &'static [u8]| {
            let mut parts = [(r#"name="file"; filename="a""#, &file[..]), (r#"name="model""#, model)];
            if is_first {
                parts.reverse();
            }
            form(&parts)
        };
        let parsed = read(Api::ModelForm, &with(b"alias"));
        let sent = replace_model(Api::ModelForm, &with(b"alias").into(), &parsed.model_span.unwrap(), "tuned");
        prop_assert_eq!(&sent[..], with(b"tuned"));
    }
}
