//! What templates render counts and hashes; what engines ignore does not; what separates prompts is in the root.

use signalbox_intake::Api;
use signalbox_types::MediaKind;

use crate::prompt_forms::{anthropic, assert_distinct, assert_equal, chain, chat, content, input, read};

#[test]
fn everything_that_templates_render_changes_the_chain_and_weighs() {
    let plain = r#"{"role":"assistant","content":"yes"}"#;
    let with = |fields: &str| format!(r#"{{"role":"assistant","content":"yes",{fields}}}"#);
    let rendered = [
        with(r#""reasoning":"because of the cat""#),
        with(r#""name":"bob""#),
        with(r#""tools":[{"type":"function","function":{"name":"f"}}]"#),
        with(r#""tools":[{"type":"function","function":{"name":"g"}}]"#),
        with(r#""task":"query""#),
        with(r#""tool_call_id":"call_1""#),
        with(r#""tool_calls":[{"id":"call_1","function":{"name":"f","arguments":"{}"}}]"#),
        with(r#""tool_calls":[{"id":"call_1","function":{"name":"f","arguments":"{\"a\":1}"}}]"#),
        with(r#""reasoning":"because","reasoning_content":"of the cat""#),
    ];
    let weight = |message: &str| {
        read(Api::Chat, &format!(r#"{{"model":"m","messages":[{message}]}}"#)).request.prompt.text_bytes
    };
    for message in &rendered {
        assert!(weight(message) > weight(plain), "{message}");
    }
    let chains: Vec<_> = rendered.iter().map(String::as_str).chain([plain]).map(chat).collect();
    assert_distinct(&chains);
    assert_equal(&[
        chat(&with(r#""reasoning":"because of""#)),
        chat(&with(r#""reasoning_content":"because of""#)),
        chat(&with(r#""reasoning_content":"because of","reasoning":"because of""#)),
    ]);
    let body = |fields: &str| chain(Api::Chat, &format!(r#"{{"model":"m","messages":[{plain}]{fields}}}"#));
    assert_distinct(&[
        body(""),
        body(r#","reasoning_effort":"low""#),
        body(r#","reasoning_effort":"high""#),
        body(r#","tools":[{"name":"f"}]"#),
        body(r#","chat_template":"low""#),
        body(r#","documents":["low"]"#),
    ]);
    let effort =
        |effort| format!(r#"{{"model":"m","input":"hi there","reasoning":{{"effort":"{effort}"}}}}"#);
    assert_distinct(&[chain(Api::Responses, &effort("low")), chain(Api::Responses, &effort("high"))]);
    assert_distinct(&[anthropic(""), anthropic(r#""output_config":{"effort":"low"},"#)]);
}

#[test]
fn what_is_empty_adds_nothing() {
    assert_equal(&[
        anthropic(""),
        anthropic(r#""system":"","#),
        anthropic(r#""system":[],"#),
        anthropic(r#""system":[ ],"#),
    ]);
    let assistant = |fields: &str| chat(&format!(r#"{{"role":"assistant","content":"yes"{fields}}}"#));
    assert_equal(&[
        assistant(""),
        assistant(r#","tool_calls":[]"#),
        assistant(r#","tool_calls":[ ]"#),
        assistant(r#","tools":[]"#),
    ]);
}

#[test]
fn thinking_is_text_and_its_signature_a_digest_without_weight() {
    let message = |block: &str| {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"assistant","content":[{block}]}}]}}"#);
        read(Api::Messages, &body).request.prompt
    };
    let unsigned = message(r#"{"type":"thinking","thinking":"because of the cat"}"#);
    let signature = "s".repeat(4_000);
    let signed = message(&format!(
        r#"{{"type":"thinking","thinking":"because of the cat","signature":"{signature}"}}"#
    ));
    assert!(unsigned.text_bytes > 18);
    assert_eq!((signed.text_bytes, signed.media[0].kind), (unsigned.text_bytes, MediaKind::Signature));
    assert_eq!(signed.tokens(4_000, 100), unsigned.tokens(4_000, 100));
    let redacted = message(&format!(r#"{{"type":"redacted_thinking","data":"{signature}"}}"#));
    assert_eq!(redacted.media[0].kind, MediaKind::EncryptedReasoning);
    assert!(redacted.tokens(4_000, 100) < 200);
}

#[test]
fn encrypted_reasoning_is_a_digest() {
    let data = "e".repeat(40_000);
    for item in [
        format!(r#"{{"type":"reasoning","summary":[],"encrypted_content":"{data}"}}"#),
        format!(r#"{{"type":"web_search_result","encrypted_content":"{data}"}}"#),
    ] {
        let parsed = read(Api::Responses, &format!(r#"{{"model":"m","input":[{item}]}}"#));
        let kinds: Vec<_> = parsed.request.prompt.media.iter().map(|medium| medium.kind).collect();
        assert_eq!(kinds, [MediaKind::EncryptedReasoning], "{item}");
        assert!(parsed.request.prompt_tokens < 200, "{}", parsed.request.prompt_tokens);
    }
    let summary = |text: &str| {
        input(&format!(
            r#"[{{"type":"reasoning","summary":[{{"type":"summary_text","text":"{text}"}}]}},"end of it"]"#
        ))
    };
    assert_distinct(&[summary("a"), summary("b")]);
}

#[test]
fn cache_marks_make_no_difference() {
    const MARK: &str = r#","cache_control":{"type":"ephemeral","ttl":"1h"}"#;
    let anthropic_body = |mark: &str| {
        let tool = format!(r#"{{"name":"f","input_schema":{{"properties":{{"a":{{}}}}}}{mark}}}"#);
        let system = format!(r#"{{"type":"text","text":"be brief"{mark}}}"#);
        let blocks = [
            format!(r#"{{"type":"text","text":"hi"{mark}}}"#),
            format!(r#"{{"type":"image","source":{{"type":"url","url":"https://a/b"}}{mark}}}"#),
            format!(r#"{{"type":"tool_use","id":"1","name":"f","input":{{"cache_control":1}}{mark}}}"#),
            format!(
                r#"{{"type":"tool_result","tool_use_id":"1","content":[{{"type":"text","text":"x"{mark}}}]{mark}}}"#
            ),
            format!(r#"{{"type":"unknown","x":1{mark}}}"#),
            format!(r#"{{"type":"document","source":{{"type":"text","data":"x"}}{mark}}}"#),
        ];
        let messages = format!(r#"[{{"role":"user","content":[{}]}}]"#, blocks.join(","));
        let body = format!(r#"{{"model":"m","tools":[{tool}],"system":[{system}],"messages":{messages}}}"#);
        read(Api::Messages, &body)
    };
    let (plain, marked) = (anthropic_body(""), anthropic_body(MARK));
    assert!(plain.chain.len() > 20);
    assert_eq!(plain.chain, marked.chain);
    assert_eq!(plain.request.prompt_tokens, marked.request.prompt_tokens);
    let chat_body = |mark: &str| {
        let tool = format!(r#"{{"type":"function","function":{{"name":"f"{mark}}}{mark}}}"#);
        let part = format!(r#"{{"type":"text","text":"hi there"{mark}}}"#);
        let messages = format!(r#"[{{"role":"user","content":[{part}]{mark}}}]"#);
        chain(Api::Chat, &format!(r#"{{"model":"m","tools":[{tool}],"messages":{messages}}}"#))
    };
    assert_equal(&[chat_body(""), chat_body(MARK)]);
}

#[test]
fn parameter_called_cache_control_counts() {
    let tool = |properties: &str| {
        anthropic(&format!(r#""tools":[{{"name":"f","input_schema":{{"properties":{{{properties}}}}}}}],"#))
    };
    assert_distinct(&[tool(""), tool(r#""cache_control":{"type":"string"}"#)]);
    let call = |input: &str| {
        content(&format!(r#"[{{"type":"tool_use","id":"1","name":"f","input":{{{input}}}}},"and so on"]"#))
    };
    assert_distinct(&[call(""), call(r#""cache_control":1"#)]);
}

#[test]
fn billing_line_of_claude_code_makes_no_difference() {
    let rest = r#"{"type":"text","text":"You are Claude Code."},{"type":"text","text":"be brief"}"#;
    let billed = |value: &str| {
        let line =
            format!(r#"{{"type":"text","text":"x-anthropic-billing-header: cc_version=2; cch={value};"}}"#);
        anthropic(&format!(r#""system":[{line},{rest}],"#))
    };
    let unbilled = anthropic(&format!(r#""system":[{rest}],"#));
    assert_equal(&[unbilled, billed("1"), billed("22222222")]);
    let followed = |text: &str| {
        anthropic(&format!(
            r#""system":[{{"type":"text","text":"x-anthropic-billing-header: cch=1;\n{text}"}}],"#
        ))
    };
    assert_equal(&[anthropic(r#""system":"be brief","#), followed("be brief")]);
    assert_distinct(&[followed("be brief"), followed("be long")]);
    let string =
        |value| anthropic(&format!(r#""system":"x-anthropic-billing-header: cch={value};\nbe brief","#));
    assert_distinct(&[followed("be brief"), string("1"), string("2")]);
}

#[test]
fn scopes_share_no_block() {
    let scopes = [
        "",
        r#","cache_salt":"a""#,
        r#","lora_path":"a""#,
        r#","lora_path":"b""#,
        r#","lora_path":["a"]"#,
        r#","extra_key":"a""#,
        r#","lora_path":"a","extra_key":"a""#,
    ];
    let text = "p".repeat(80);
    for (api, prompt) in [
        (Api::Completions, format!(r#""prompt":"{text}""#)),
        (Api::Chat, format!(r#""messages":[{{"content":"{text}"}}]"#)),
        (Api::Responses, format!(r#""input":"{text}""#)),
        (Api::Embeddings, format!(r#""input":"{text}""#)),
    ] {
        assert_share_no_block(api, &prompt, &scopes);
    }
    let ids = r#""input_ids":[1,2,3,4,5,6,7,8]"#;
    let scopes = [
        "",
        r#","lora_path":"a""#,
        r#","extra_key":"a""#,
        r#","image_data":"a""#,
        r#","image_data":["b"]"#,
        r#","video_data":"a""#,
        r#","audio_data":"a""#,
    ];
    assert_share_no_block(Api::Generate, ids, &scopes);
    let scopes = [
        "",
        r#","mm_processor_kwargs":{"max_pixels":1}"#,
        r#","mm_processor_kwargs":{"max_pixels":2}"#,
        r#","media_io_kwargs":{"max_pixels":1}"#,
    ];
    assert_share_no_block(Api::Chat, &format!(r#""messages":[{{"content":"{text}"}}]"#), &scopes);
    let conversations = [
        "",
        r#","previous_response_id":"r1""#,
        r#","previous_response_id":"r2""#,
        r#","conversation":"r1""#,
        r#","conversation":{"id":"c2"}"#,
    ];
    assert_share_no_block(Api::Responses, &format!(r#""input":"{text}""#), &conversations);
    let conversation = |id: &str| input(&format!(r#""hi there, model","conversation":{id}"#));
    assert_equal(&[conversation(r#""c1""#), conversation(r#"{"id":"c1"}"#)]);
}

fn assert_share_no_block(api: Api, prompt: &str, scopes: &[&str]) {
    let chains: Vec<_> =
        scopes.iter().map(|scope| chain(api, &format!(r#"{{"model":"m",{prompt}{scope}}}"#))).collect();
    for (at, one) in chains.iter().enumerate() {
        assert!(!one.is_empty(), "{api:?}");
        let others = chains[..at].iter().flatten();
        assert_eq!(others.filter(|block| one.contains(block)).count(), 0, "{api:?}: {}", scopes[at]);
    }
}
