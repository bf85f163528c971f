//! Which forms of a prompt share a chain, and weigh the same.

use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::prelude::{prop_assert_eq, prop_assert_ne, proptest};
use signalbox_intake::{Api, ParseOptions, ParsedRequest, parse};
use signalbox_types::BlockHash;

pub(crate) fn read(api: Api, body: &str) -> ParsedRequest {
    parse(api, body.as_bytes(), &ParseOptions::new(8)).unwrap_or_else(|error| panic!("{body}: {error}"))
}

pub(crate) fn chain(api: Api, body: &str) -> Vec<BlockHash> {
    read(api, body).chain
}

/// Returns the chain of a chat with these messages.
pub(crate) fn chat(messages: &str) -> Vec<BlockHash> {
    chain(
        Api::Chat,
        &format!(r#"{{"model":"m","messages":[{messages},{{"role":"user","content":"go on with it"}}]}}"#),
    )
}

/// Returns the chain of a user message with this content.
pub(crate) fn content(content: &str) -> Vec<BlockHash> {
    chat(&format!(r#"{{"role":"user","content":{content}}}"#))
}

/// Returns the chain of a responses request with this input.
pub(crate) fn input(input: &str) -> Vec<BlockHash> {
    chain(Api::Responses, &format!(r#"{{"model":"m","input":{input}}}"#))
}

/// Returns the chain of an Anthropic request with these fields before the message "hi".
pub(crate) fn anthropic(fields: &str) -> Vec<BlockHash> {
    let messages = r#"[{"role":"user","content":"hi, go on with it"}]"#;
    chain(Api::Messages, &format!(r#"{{"model":"m",{fields}"messages":{messages}}}"#))
}

/// Asserts that all chains are equal and not empty.
pub(crate) fn assert_equal(chains: &[Vec<BlockHash>]) {
    assert!(!chains[0].is_empty());
    for (at, other) in chains.iter().enumerate() {
        assert_eq!(&chains[0], other, "number {at}");
    }
}

/// Asserts that no two chains are equal.
pub(crate) fn assert_distinct(chains: &[Vec<BlockHash>]) {
    for (at, one) in chains.iter().enumerate() {
        assert!(!one.is_empty());
        for (other_at, other) in chains[..at].iter().enumerate() {
            assert_ne!(one, other, "numbers {other_at} and {at}");
        }
    }
}

/// Returns `text` as `json.dumps` writes it: all characters in ASCII.
fn ascii_json(text: &str) -> String {
    let mut json = String::new();
    for character in serde_json::to_string(text).unwrap().chars() {
        match character {
            ' '..='~' => json.push(character),
            _ => character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                write!(json, "\\u{unit:04x}").unwrap();
            }),
        }
    }
    json
}

#[test]
fn escaped_and_raw_text_share_a_chain_and_weigh_the_same() {
    let raw = r#"{"model":"m","prompt":"中文字符 and an emoji 😀 in text"}"#;
    let escaped =
        r#"{"model":"m","prompt":"\u4e2d\u6587\u5b57\u7b26 and an emoji \ud83d\ude00 in t\u0065xt"}"#;
    assert_eq!(chain(Api::Completions, raw), chain(Api::Completions, escaped));
    let tokens = |body| read(Api::Completions, body).request.prompt_tokens;
    assert_eq!(tokens(raw), tokens(escaped));
    assert_eq!(tokens(escaped), "中文字符 and an emoji 😀 in text".len().div_ceil(4) as u64);
}

#[test]
fn decoded_text_cannot_imitate_a_boundary() {
    assert_distinct(&[
        chat(r#"{"role":"user","content":"aaaa"},{"role":"user","content":"bbbb"}"#),
        content(r#""aaaa\u001f\u001euser\u001fbbbb""#),
        content(r#""aaaa\u00ff\u00fcuser\u00ffbbbb""#),
        content(r#""aaaa\nuser\nbbbb""#),
        content(r#""aaaa\udfff\udcfcuser\udfffbbbb""#),
    ]);
    // The ids 1 and 2 are the bytes 01 00 00 00 02 00 00 00.
    let text = r#"{"model":"m","prompt":"\u0001\u0000\u0000\u0000\u0002\u0000\u0000\u0000"}"#;
    assert_distinct(&[
        chain(Api::Completions, text),
        chain(Api::Completions, r#"{"model":"m","prompt":[1,2]}"#),
    ]);
}

#[test]
fn every_message_of_a_long_chat_is_hashed() {
    let messages = |last: &str| {
        let others = r#"{"role":"user","content":"a"},"#.repeat(70_000);
        chain(Api::Chat, &format!(r#"{{"model":"m","messages":[{others}{{"content":"{last} and so on"}}]}}"#))
    };
    let (one, other) = (messages("b"), messages("c"));
    let shared = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
    // Each message is one block of 8 bytes.
    assert_eq!(shared, 70_000);
    assert_eq!((one.len(), other.len()), (shared + 1, shared + 1));
}

#[test]
fn string_and_text_part_share_a_chain() {
    assert_equal(&[
        content(r#""hi there""#),
        content(r#"[{"type":"text","text":"hi there"}]"#),
        content(r#"[ {"text" : "hi\u0020there", "type":"text", "annotations":[]} ]"#),
        content(r#"[{"type":"input_text","text":"hi there"}]"#),
        content(r#"[{"type":"output_text","text":"hi there","logprobs":[]}]"#),
        content(r#"["hi there"]"#),
        content(r#"[{"text":"hi there"}]"#),
    ]);
    assert_equal(&[
        content(r#""a\nb""#),
        content(r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#),
    ]);
}

#[test]
fn responses_input_shares_a_chain_with_the_chat_that_engines_make_of_it() {
    let chat = |messages: &str| chain(Api::Chat, &format!(r#"{{"model":"m","messages":{messages}}}"#));
    assert_equal(&[
        input(r#""hi there, model""#),
        input(r#"[{"role":"user","content":"hi there, model"}]"#),
        input(
            r#"[{"type":"message","role":"user","content":[{"type":"input_text","text":"hi there, model"}]}]"#,
        ),
        chat(r#"[{"role":"user","content":"hi there, model"}]"#),
    ]);
    let with_instructions = r#"{"model":"m","instructions":"be brief","input":"hi there"}"#;
    let system = r#"{"role":"system","content":"be brief"}"#;
    assert_equal(&[
        chain(Api::Responses, with_instructions),
        chat(&format!(r#"[{system},{{"role":"user","content":"hi there"}}]"#)),
    ]);
}

#[test]
fn anthropic_system_shares_a_chain_with_a_system_message() {
    let system = r#"{"role":"system","content":"be brief"}"#;
    let user = r#"{"role":"user","content":"hi, go on with it"}"#;
    assert_equal(&[
        chain(Api::Chat, &format!(r#"{{"model":"m","messages":[{system},{user}]}}"#)),
        anthropic(r#""system":"be brief","#),
        anthropic(r#""system":[{"type":"text","text":"be brief"}],"#),
        anthropic(r#""system":[{"type":"text","text":"be "},{"type":"text","text":"brief"}],"#),
    ]);
}

#[test]
fn whitespace_in_tools_makes_no_difference() {
    let chat =
        |tools: &str| chain(Api::Chat, &format!(r#"{{"model":"m","tools":{tools},"messages":[{{}}]}}"#));
    assert_equal(&[
        chat(
            r#"[{"type":"function","function":{"name":"f","description":"é","parameters":{"a":[1,true]}}}]"#,
        ),
        chat(
            r#"[ {"type": "function", "function": {"name": "f", "description": "\u00e9", "parameters": {"a": [1, true]}}} ]"#,
        ),
    ]);
    let untooled = chain(Api::Chat, r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#);
    assert_equal(&[
        untooled,
        chain(Api::Chat, r#"{"model":"m","tools":[],"messages":[{"role":"user","content":"hi"}]}"#),
    ]);
}

proptest! {
    #[test]
    fn how_json_is_written_makes_no_difference(texts in vec(".{0,20}", 1..5), name in "[a-z\u{e4}]{1,5}") {
        let body = |write: &dyn Fn(&str) -> String, space: &str| {
            let parts: Vec<_> = texts
                .iter()
                .map(|text| format!(r#"{{{space}"type":"text",{space}"text":{space}{}}}"#, write(text)))
                .collect();
            let call = format!(r#"{{"function":{space}{{"name":{}{space}}}}}"#, write(&name));
            format!(
                r#"{{"model":"m","messages":{space}[{{"content":[{}],{space}"tool_calls":[{space}{call}]}}]}}"#,
                parts.join(",")
            )
        };
        let raw = |text: &str| serde_json::to_string(text).unwrap();
        let (one, other) = (read(Api::Chat, &body(&raw, "")), read(Api::Chat, &body(&ascii_json, " \n")));
        prop_assert_eq!(one.chain, other.chain);
        prop_assert_eq!(one.request.prompt, other.request.prompt);
    }

    #[test]
    fn different_messages_give_different_chains(
        one in vec((".{0,6}", ".{0,6}"), 1..4),
        other in vec((".{0,6}", ".{0,6}"), 1..4),
    ) {
        // With blocks of one byte, every byte is part of the chain.
        let chain = |messages: &[(String, String)]| {
            let messages: Vec<_> = messages
                .iter()
                .map(|(role, content)| format!(r#"{{"role":{},"content":{}}}"#, ascii_json(role), ascii_json(content)))
                .collect();
            let body = format!(r#"{{"model":"m","messages":[{}]}}"#, messages.join(","));
            parse(Api::Chat, body.as_bytes(), &ParseOptions::new(1)).unwrap().chain
        };
        if one == other {
            prop_assert_eq!(chain(&one), chain(&other));
        } else {
            prop_assert_ne!(chain(&one), chain(&other));
        }
    }
}
