//! Completions and chats.

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use signalbox_intake::{Api, Delivery, ParseError, ParseOptions, ParsedRequest, Unread, parse};
use signalbox_prefix::ChainHasher;
use signalbox_types::{BlockHash, MediaKind, MediaTokens, PromptSize, Request};
use smallvec::smallvec;
use xxhash_rust::xxh3::xxh3_128;

fn completion(body: &str) -> Result<ParsedRequest, ParseError> {
    parse(Api::Completions, body.as_bytes(), &ParseOptions::new(8))
}

fn chat(body: &str) -> Result<ParsedRequest, ParseError> {
    parse(Api::Chat, body.as_bytes(), &ParseOptions::new(8))
}

pub(crate) fn chain(model: &str, bytes: impl AsRef<[u8]>) -> Vec<BlockHash> {
    let mut hasher = ChainHasher::new(model, 8);
    hasher.update(bytes.as_ref());
    hasher.finish()
}

pub(crate) fn chain_of_ids(model: &str, ids: &[u32]) -> Vec<BlockHash> {
    chain_of_scoped_ids(model, b"", ids)
}

/// Returns the chain of ids in a scope, such as `\xfecache_salt\xffsalt\xff`.
pub(crate) fn chain_of_scoped_ids(model: &str, scope: &[u8], ids: &[u32]) -> Vec<BlockHash> {
    let digest = xxh3_128(&[b"ids", scope].concat());
    let mut hasher = ChainHasher::new(&format!("\u{1f}{digest:032x}{model}"), 8);
    ids.iter().for_each(|id| hasher.update(&id.to_le_bytes()));
    hasher.finish()
}

/// Returns the error message for the client.
pub(crate) fn refusal(read: Result<ParsedRequest, ParseError>) -> String {
    read.unwrap_err().to_string()
}

#[test]
fn completion_is_parsed() {
    let read = completion(r#"{"model":"llama3","prompt":"0123456\n89","max_tokens":7,"stream":true}"#);
    let expected = ParsedRequest {
        api: Api::Completions,
        requested_model: None,
        request: Request {
            model: "llama3".to_owned(),
            prompt_tokens: 3,
            prompt: PromptSize { text_bytes: 10, ..PromptSize::default() },
            max_output_tokens: Some(7),
            ..Request::default()
        },
        chain: chain("llama3", "0123456\n89"),
        stored_response: None,
        is_stored: false,
        delivery: Delivery::Streamed,
        model_span: Some(9..17),
        unread: None,
    };
    assert_eq!(expected.chain.len(), 1);
    assert_eq!(read.unwrap(), expected);
}

#[test]
fn prompt_may_be_an_array_of_strings() {
    let prompt = r#"["a", "b\tand c"]"#;
    let read = completion(&format!(r#"{{"prompt": {prompt} ,"model":"m"}}"#)).unwrap();
    assert_eq!(read.chain, chain("m", b"a\xffb\tand c"));
    assert_eq!(read.request.prompt_tokens, 3);
    assert_eq!(read.delivery, Delivery::Whole);
}

#[test]
fn prompt_may_be_token_ids() {
    let read = |prompt: &str| completion(&format!(r#"{{"prompt":{prompt},"model":"m"}}"#)).unwrap();
    let ids = read("[1, 22,333 ,4294967295 , 5]");
    assert_eq!((ids.request.prompt_tokens, ids.chain.len()), (5, 2));
    assert_eq!(ids.chain, chain_of_ids("m", &[1, 22, 333, u32::MAX, 5]));
    let batch = read("[[1,2],[3,4,5]]");
    assert_eq!(batch.request.prompt_tokens, 5);
    assert_eq!(batch.chain, chain_of_ids("m", &[1, 2, u32::MAX, 3, 4, 5]));
}

#[test]
fn chat_is_parsed() {
    let read = chat(
        r#"{"messages":[{"role":"system","content":"be brief"},
            {"role":"user","content":[{"type":"text","text":"hi"},{"type":"image_url","image_url":{"url":"data:,x"}}]},
            {"role":"assistant","content":null,"tool_calls":[{"id":"a"}]}],
            "tools":[{"model":1}],"max_tokens":5,"model":"m","max_completion_tokens":9,"stream":false}"#,
    )
    .unwrap();
    let image = xxh3_128(b"data:,x").to_le_bytes();
    let hashed = [
        b"\xfetools\xff\xfa\xf8model\xff\xfb1\xff\xf7\xf9",
        &b"\xfcsystem\xffbe brief\xff\xfcuser\xffhi\xfdi"[..],
        &image,
        b"\xff\xfcassistant\xff\xff\xfetool_calls\xff\xfa\xf8id\xffa\xff\xf7\xf9",
    ]
    .concat();
    assert_eq!(read.request.model, "m");
    let media = smallvec![MediaTokens { kind: MediaKind::Image, block: 7, tokens: 1_024 }];
    let prompt = PromptSize { text_bytes: hashed.len() as u64 - 18, token_ids: 0, media };
    assert_eq!(read.request.prompt_tokens, (hashed.len() as u64 - 18).div_ceil(4) + 1_024);
    assert_eq!(read.request.prompt, prompt);
    assert_eq!(read.request.max_output_tokens, Some(9));
    assert_eq!(read.chain, chain("m", &hashed));
    assert_eq!(read.delivery, Delivery::Whole);
}

#[test]
fn invalid_output_limits_are_ignored() {
    let limit = |fields: &str| {
        let read = chat(&format!(r#"{{"model":"m","messages":[{{}}],{fields}}}"#));
        read.unwrap().request.max_output_tokens
    };
    assert_eq!(limit(r#""max_completion_tokens":0,"max_tokens":5"#), Some(0));
    assert_eq!(limit(r#""max_completion_tokens":null,"max_tokens":5"#), Some(5));
    assert_eq!(limit(r#""max_completion_tokens":-1,"max_tokens":5"#), Some(5));
    assert_eq!(limit(r#""max_completion_tokens":1.5,"max_tokens":"5""#), None);
}

#[test]
fn invalid_json_is_rejected() {
    for read in [completion, chat] {
        for body in [
            "",
            " ",
            "\u{feff}",
            "{",
            "no healthy upstream",
            r#"{"model":"m","prompt":"cu"#,
            r#"{"a":1}{"#,
            "{\"a\"}",
        ] {
            let text = refusal(read(body));
            assert!(text.starts_with("error unmarshaling request bodyMap: "), "{body}: {text}");
        }
        for body in ["[1]", "\"model\"", "7", "null", r#"["m","p",true,1,1]"#] {
            let text = refusal(read(body));
            assert_eq!(text, "error unmarshaling request bodyMap: the body is not a JSON object", "{body}");
        }
    }
}

#[test]
fn body_without_a_prompt_is_rejected() {
    for prompt in
        ["\"\"", "[ ]", "null", "7", "true", "[-1]", "[1.5]", "[4294967296]", "[[],[]]", "[null]", "[{}]"]
    {
        let text = refusal(completion(&format!(r#"{{"model":"m","prompt":{prompt}}}"#)));
        assert_eq!(text, "invalid completions request: must have prompt field", "{prompt}");
    }
    let text = refusal(completion(r#"{"model":"m"}"#));
    assert_eq!(text, "invalid completions request: must have prompt field");
    for messages in ["", "[]", "null", "\"\"", "7", "[null]", "[1,2]", "{}"] {
        let field = if messages.is_empty() { String::new() } else { format!(r#","messages":{messages}"#) };
        let text = refusal(chat(&format!(r#"{{"model":"m"{field}}}"#)));
        assert_eq!(text, "invalid chat completions request: must have valid messages field", "{messages}");
    }
}

#[test]
fn repeated_members_of_a_message_are_rejected() {
    for (message, member) in
        [(r#"{"role":"a","role":"b"}"#, "role"), (r#"{"reasoning":"a","r\u0065asoning":"b"}"#, "reasoning")]
    {
        let text = refusal(chat(&format!(r#"{{"model":"m","messages":[{message}]}}"#)));
        let expected = format!("invalid chat completions request: duplicate field `{member}` in a message");
        assert_eq!(text, expected);
    }
}

#[test]
fn body_without_a_model_is_read() {
    for model in ["", r#","model":"""#, r#","model":null"#] {
        let text = completion(&format!(r#"{{"prompt":"0123456789"{model}}}"#)).unwrap();
        assert_eq!((text.request.model.as_str(), text.unread), ("", Some(Unread::Model)), "{model}");
        assert_eq!(chain("", "0123456789"), text.chain);
        let chat = chat(&format!(r#"{{"messages":[{{"content":"0123456789"}}]{model}}}"#)).unwrap();
        assert_eq!((false, Some(Unread::Model)), (chat.chain.is_empty(), chat.unread), "{model}");
        let embeddings = format!(r#"{{"prompt_embeds":"AAAA"{model}}}"#);
        assert_eq!(
            Some(Unread::PromptForm),
            completion(&embeddings).unwrap().unread,
            "one reason is counted"
        );
    }
}

#[test]
fn model_that_is_no_string_is_rejected() {
    for model in ["7", "[]", r#"{"model":"m"}"#] {
        for read in [
            completion(&format!(r#"{{"prompt":"p","model":{model}}}"#)),
            chat(&format!(r#"{{"messages":[{{}}],"model":{model}}}"#)),
        ] {
            assert_eq!(refusal(read), "invalid model in request body: it must be a string", "{model}");
        }
    }
}

#[test]
fn duplicate_relevant_keys_are_rejected() {
    let twice = [
        r#""model":"a","model":"a""#,
        r#""model":"a","mod\u0065l":"b""#,
        r#""model":"a","stream":1,"stream":2"#,
    ];
    for fields in twice {
        let text = refusal(completion(&format!(r#"{{"prompt":"p",{fields}}}"#)));
        assert!(text.contains("duplicate field"), "{text}");
        let text = refusal(chat(&format!(r#"{{"messages":[{{}}],{fields}}}"#)));
        assert!(text.contains("duplicate field"), "{text}");
    }
    assert!(completion(r#"{"model":"a","prompt":"p","user":1,"user":2}"#).is_ok());
}

#[test]
fn too_deeply_nested_body_is_rejected() {
    let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    for key in ["messages", "x", "prompt"] {
        let body = |levels: usize| {
            let prompts = r#""model":"m","messages":[{}],"prompt":"p","#;
            let prompts = prompts.replace(&format!("\"{key}\""), "\"y\"");
            format!(r#"{{{prompts}"{key}":[{{"content":{}}}]}}"#, deep(levels))
        };
        if key != "prompt" {
            assert!(chat(&body(124)).is_ok(), "{key}");
        }
        for read in [chat(&body(125)), completion(&body(1_000_000))] {
            let text = refusal(read);
            assert!(text.contains("recursion limit exceeded"), "{key}: {text}");
        }
    }
}

#[test]
fn different_salts_share_no_block() {
    let read = |salt: &str| {
        let completion =
            completion(&format!(r#"{{"model":"m","prompt":"{}"{salt}}}"#, "p".repeat(80))).unwrap();
        let chat = chat(&format!(r#"{{"model":"m","messages":[{{"content":"{}"}}]{salt}}}"#, "p".repeat(77)));
        [completion, chat.unwrap()]
    };
    let unsalted = read("");
    let salted = [r#","cache_salt":"a""#, r#","cache_salt":"ab""#].map(read);
    for (at, unsalted) in unsalted.iter().enumerate() {
        let chains = [unsalted, &salted[0][at], &salted[1][at]];
        for (nth, one) in chains.iter().enumerate() {
            assert_eq!(one.request.prompt_tokens, unsalted.request.prompt_tokens);
            assert_eq!(one.chain.len(), 10);
            let others = chains[..nth].iter().flat_map(|other| &other.chain);
            assert_eq!(others.filter(|hash| one.chain.contains(hash)).count(), 0);
        }
    }
    assert_eq!(read(r#","cache_salt":null"#), unsalted);
    assert_eq!(read(r#","cache_salt":"""#), unsalted);
}

#[test]
fn opaque_body_is_not_read() {
    assert_eq!(parse(Api::Opaque, b"\xff{{", &ParseOptions::new(8)).unwrap(), ParsedRequest::default());
}

proptest! {
    #[test]
    fn prompt_is_hashed_and_counted_as_its_decoded_text(
        model in "[a-zA-Z0-9/\"\\\\\u{e4}.-]{1,20}",
        prompt in ".{1,200}",
        padding in " {0,3}",
        model_first in any::<bool>(),
    ) {
        let (model_json, prompt_json) = (serde_json::to_string(&model).unwrap(), serde_json::to_string(&prompt).unwrap());
        let mut fields = [format!("\"model\":{padding}{model_json}"), format!("\"prompt\":{padding}{prompt_json}")];
        if !model_first {
            fields.reverse();
        }
        let read = completion(&format!("{padding}{{{padding}{}}}{padding}", fields.join(","))).unwrap();
        prop_assert_eq!(read.chain, chain(&model, &prompt));
        prop_assert_eq!(read.request.prompt_tokens, prompt.len().div_ceil(4) as u64);
        prop_assert_eq!(read.request.model, model);
    }

    #[test]
    fn longer_chat_extends_the_chain(contents in vec(".{0,40}", 1..10), split in 1usize..10) {
        let body = |contents: &[String]| {
            let messages: Vec<_> = contents
                .iter()
                .map(|text| format!(r#"{{"role":"user","content":{}}}"#, serde_json::to_string(text).unwrap()))
                .collect();
            format!(r#"{{"model":"m","messages":[{}]}}"#, messages.join(","))
        };
        let whole = chat(&body(&contents)).unwrap();
        let part = chat(&body(&contents[..split.min(contents.len())])).unwrap();
        prop_assert!(whole.chain.starts_with(&part.chain));
        prop_assert!(whole.request.prompt_tokens >= part.request.prompt_tokens);
    }

    #[test]
    fn arbitrary_bodies_do_not_panic(body in vec(any::<u8>(), 0..200)) {
        for api in [Api::Completions, Api::Chat, Api::VllmGrpcGenerate, Api::VllmGrpcEmbed, Api::Opaque] {
            let _ = parse(api, &body, &ParseOptions::new(8));
        }
    }

    #[test]
    fn truncated_body_is_rejected(at in 0usize..70) {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"hello there"}]}"#;
        prop_assert_eq!(chat(&body[..at.min(body.len())]).is_ok(), at >= body.len());
    }
}
