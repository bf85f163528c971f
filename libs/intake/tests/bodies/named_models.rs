//! The model where a request is not parsed.

use signalbox_intake::{Api, models_in_path, named_model};

#[test]
fn model_of_json_is_found_before_the_json_ends() {
    for part in [
        r#"{"model":"alias","messages":[{"role":"user","content":"x"}]}"#,
        r#" {"input":{"model":"inner","a":[{}]},"model" : "alias", "b":"#,
        r#"{"mod\u0065l":"ali\u0061s""#,
        r#"{"temperature":NaN,"model":"alias"}"#,
        "\u{feff}{\"model\":\"alias\"",
    ] {
        for api in [Api::Chat, Api::ModelJson, Api::Messages, Api::ByShape] {
            assert_eq!(Some("alias"), named_model(api, part.as_bytes()).as_deref(), "{part}");
        }
        assert_eq!(None, named_model(Api::Opaque, part.as_bytes()), "{part}");
        assert_eq!(None, named_model(Api::Generate, part.as_bytes()), "it names no model");
    }
}

#[test]
fn what_names_no_model_has_none() {
    for part in [
        "",
        "{",
        r#"{"model":"ali"#,
        r#"{"model":7}"#,
        r#"{"model":null}"#,
        r#"["model"]"#,
        r#"{"a":{"model":"b"}}"#,
        "\u{0}",
    ] {
        assert_eq!(None, named_model(Api::Chat, part.as_bytes()), "{part}");
        assert_eq!(None, named_model(Api::ModelForm, part.as_bytes()), "{part}");
        assert_eq!(None, named_model(Api::VertexChat, part.as_bytes()), "{part}");
    }
}

#[test]
fn model_of_a_form_is_found_before_the_form_ends() {
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nalias\r\n--b\r\n\
                Content-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nRIFF";
    assert_eq!(Some("alias"), named_model(Api::ModelForm, form.as_bytes()).as_deref());
    let cut = &form[..form.find("alias").unwrap() + 3];
    assert_eq!(None, named_model(Api::ModelForm, cut.as_bytes()));
}

#[test]
fn path_may_name_a_model() {
    for (path, names) in [
        ("/v1/models/alias", &["alias"][..]),
        ("/v1/models/org/alias?x=y", &["org/alias", "org"]),
        ("/v2/models/alias/versions/1/infer", &["alias/versions/1/infer", "alias"]),
        ("/v1beta/models/alias:generateContent", &["alias:generateContent", "alias"]),
        ("/v1/models/a%2Fb%20c/", &["a/b c"]),
        ("/v1/realtime?intent=x&model=ali%61s#models/b", &["alias"]),
        ("/v1/models", &[]),
        ("/v1/models/", &[]),
        ("/v1/my-models/alias?other_model=b&model=", &[]),
        ("/v1/publishers/p/models/alias:predict", &["alias:predict", "alias"]),
        ("/models/alias/v1/models", &[]),
        ("/metrics?model=alias", &[]),
        ("", &[]),
    ] {
        assert_eq!(names, models_in_path(path), "{path}");
    }
}
