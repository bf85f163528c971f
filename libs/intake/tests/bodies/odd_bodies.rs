//! Bodies that engines take although a parser that knows only one form of each API refuses them, and bodies that none
//! takes.

use bytes::Bytes;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use signalbox_intake::{Api, Delivery, ParseOptions, ParsedRequest, Unread, parse, replace_model};

use crate::completions_and_chats::{chain, chain_of_ids, refusal};

fn read(api: Api, body: &str) -> ParsedRequest {
    parse(api, body.as_bytes(), &ParseOptions::new(8)).unwrap_or_else(|error| panic!("{body}: {error}"))
}

#[test]
fn generate_takes_text_in_the_fields_of_all_engines() {
    for field in ["text", "inputs", "prompt"] {
        let read = read(Api::Generate, &format!(r#"{{"{field}":"0123456789ab","stream":true}}"#));
        assert_eq!((read.chain, read.delivery), (chain("", "0123456789ab"), Delivery::Streamed), "{field}");
        assert_eq!((read.unread, read.request.prompt.text_bytes), (None, 12));
    }
    let batch = read(Api::Generate, r#"{"text":["01234567","89"]}"#);
    assert_eq!(batch.chain, chain("", b"01234567\xff89"));
    let limit =
        |fields: &str| read(Api::Generate, &format!(r#"{{"text":"a",{fields}}}"#)).request.max_output_tokens;
    assert_eq!(limit(r#""sampling_params":{"max_new_tokens":3}"#), Some(3));
    assert_eq!(limit(r#""parameters":{"max_new_tokens":4}"#), Some(4));
    assert_eq!(limit(r#""max_tokens":5"#), Some(5));
    assert_eq!(limit(r#""sampling_params":[{"max_new_tokens":3}]"#), None);
    assert_eq!(Delivery::Streamed, read(Api::GenerateStream, r#"{"inputs":"a"}"#).delivery);
}

#[test]
fn generate_takes_batches_of_ids_and_separates_adapters() {
    let batch = read(Api::Generate, r#"{"input_ids":[[1,2],[3,4,5]],"extra_key":["a","b"]}"#);
    assert_eq!((batch.request.prompt_tokens, batch.unread), (5, None));
    let unscoped = read(Api::Generate, r#"{"input_ids":[[1,2],[3,4,5]]}"#);
    assert_eq!(unscoped.chain, chain_of_ids("", &[1, 2, u32::MAX, 3, 4, 5]));
    let adapter = |id: &str| {
        read(Api::Generate, &format!(r#"{{"inputs":"0123456789","parameters":{{"adapter_id":"{id}"}}}}"#))
            .chain
    };
    assert_ne!(adapter("a"), adapter("b"));
}

#[test]
fn unknown_forms_of_a_prompt_are_left_unread() {
    for (api, body) in [
        (Api::Completions, r#"{"model":"m","prompt":"","prompt_embeds":"UEsD"}"#),
        (Api::Completions, r#"{"model":"m","prompt_embeds":["UEsD","UEsE"]}"#),
        (Api::Completions, r#"{"model":"m","prompt":"a","prompt_embeds":"UEsD"}"#),
        (Api::Completions, r#"{"model":"m","prompt":null,"prompt_embeds":"UEsD"}"#),
        (Api::Completions, r#"{"model":"m","prompt":[12,"and",34]}"#),
        (Api::Completions, r#"{"model":"m","prompt":{"prompt_string":"a","multimodal_data":["b"]}}"#),
        (Api::Chat, r#"{"model":"m","messages":"hi"}"#),
        (Api::Chat, r#"{"model":"m","messages":["hi"]}"#),
        (Api::Messages, r#"{"model":"m","messages":"hi"}"#),
        (Api::Responses, r#"{"model":"m","previous_response_id":"resp_1"}"#),
        (Api::Responses, r#"{"model":"m","conversation":{"id":"conv_1"}}"#),
        (Api::Responses, r#"{"model":"m","prompt":{"id":"pmpt_1"}}"#),
        (Api::Responses, r#"{"model":"m","input":{"role":"user"}}"#),
        (Api::Embeddings, r#"{"model":"m","input":[1,"a"]}"#),
        (Api::Images, r#"{"model":"m","prompt":["a"]}"#),
        (Api::Conversations, r#"{"model":"m","items":"a"}"#),
    ] {
        let read = read(api, body);
        assert_eq!((read.unread, read.chain.len()), (Some(Unread::PromptForm), 0), "{body}");
        assert_eq!((read.request.model.as_str(), read.request.prompt_tokens), ("m", 0), "{body}");
        let renamed = replace_model(api, &Bytes::from(body.to_owned()), &read.model_span.unwrap(), "n");
        assert_eq!(renamed, body.replace(r#""m""#, r#""n""#));
    }
    for body in [r#"{"input_embeds":[[0.5]]}"#, r#"{"text":{"a":"b"}}"#, r#"{"image_data":"a"}"#] {
        assert_eq!(read(Api::Generate, body).unread, Some(Unread::PromptForm), "{body}");
    }
}

#[test]
fn embeddings_take_messages_and_parts() {
    let messages = r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a/b.png"}},{"type":"text","text":"Describe it"}]}]"#;
    let embeddings = read(Api::Embeddings, &format!(r#"{{"model":"m","messages":{messages}}}"#));
    let chat = read(Api::Chat, &format!(r#"{{"model":"m","messages":{messages}}}"#));
    assert_eq!((embeddings.chain, embeddings.request), (chat.chain, chat.request));
    for input in [r#"[{"type":"text","text":"0123456789"}]"#, r#"{"type":"text","text":"0123456789"}"#] {
        let parts = read(Api::Embeddings, &format!(r#"{{"model":"m","input":{input}}}"#));
        assert_eq!((parts.chain, parts.unread), (chain("m", "0123456789"), None), "{input}");
    }
}

#[test]
fn conversations_may_be_empty() {
    for body in
        ["", "{}", r#"{"metadata":{"a":"b"}}"#, r#"{"items":[]}"#, r#"{"items":null}"#, r#"{"model":null}"#]
    {
        assert_eq!(
            read(Api::Conversations, body),
            ParsedRequest { api: Api::Conversations, ..ParsedRequest::default() }
        );
    }
    let items = r#"{"items":[{"type":"message","role":"user","content":"0123456789"}]}"#;
    assert_eq!(chain("", b"\xfcuser\xff0123456789\xff"), read(Api::Conversations, items).chain);
}

#[test]
fn byte_order_mark_is_passed_over() {
    let plain = r#"{"model":"m","messages":[{"role":"user","content":"hi there"}]}"#;
    let marked = format!("\u{feff}{plain}");
    let (with, without) = (read(Api::Chat, &marked), read(Api::Chat, plain));
    assert_eq!((&with.chain, &with.request), (&without.chain, &without.request));
    let renamed = replace_model(Api::Chat, &Bytes::from(marked.clone()), &with.model_span.unwrap(), "tuned");
    assert_eq!(renamed, marked.replace(r#""m""#, r#""tuned""#));
}

#[test]
fn numbers_of_python_are_read() {
    let body = r#"{"temperature":NaN,"model":"m","min_p":-Infinity,"prompt":"0123456 NaN"}"#;
    let read = read(Api::Completions, body);
    assert_eq!(read.chain, chain("m", "0123456 NaN"));
    assert_eq!(&body[read.model_span.unwrap()], r#""m""#);
    assert!(
        parse(Api::Completions, br#"{"model":"m","prompt":"p","x":Nan}"#, &ParseOptions::new(8)).is_err()
    );
}

#[test]
fn refusal_says_what_no_engine_could_take() {
    for (body, text) in [
        (&b""[..], "the body is empty"),
        (
            b"{\"model\":\"m\",\"prompt\":\"p",
            "the body is truncated: EOF while parsing a string at line 1 column 24",
        ),
        (
            b"{\"model\":\"m\",\"prompt\":\"p\",\"user\":\"\xff\"}",
            "the body is not UTF-8: invalid byte at offset 34",
        ),
        (b"{\"model\":\"m\",\"model\":\"n\"}", "duplicate field `model` at line 1 column 20"),
        (b"{model:1}", "key must be a string at line 1 column 2"),
        (b"[]", "the body is not a JSON object"),
    ] {
        let refused = refusal(parse(Api::Completions, body, &ParseOptions::new(8)));
        assert_eq!(refused, format!("error unmarshaling request bodyMap: {text}"));
    }
}

proptest! {
    #[test]
    fn mark_and_numbers_change_nothing_but_positions(text in ".{0,60}", is_marked in any::<bool>(), number in 0usize..4) {
        let number = ["1", "NaN", "Infinity", "-Infinity"][number];
        let prompt = serde_json::to_string(&format!("p{text}")).unwrap();
        let mark = if is_marked { "\u{feff}" } else { "" };
        let body = format!(r#"{mark}{{"x":[{number}],"prompt":{prompt},"model":"m","y":{number}}}"#);
        let read = parse(Api::Completions, body.as_bytes(), &ParseOptions::new(8)).unwrap();
        prop_assert_eq!(read.chain, chain("m", format!("p{text}")));
        prop_assert_eq!(&body[read.model_span.unwrap()], r#""m""#);
    }

    #[test]
    fn invalid_utf8_is_refused_wherever_it_is(at in 0usize..64, byte in 0x80u8..) {
        let mut body = br#"{"model":"m","prompt":"some text","user":{"name":"someone else"}}"#.to_vec();
        body[at] = byte;
        let refused = refusal(parse(Api::Completions, &body, &ParseOptions::new(8)));
        prop_assert!(refused.ends_with(&format!("the body is not UTF-8: invalid byte at offset {at}")), "{}", refused);
    }
}
