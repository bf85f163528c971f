//! The other APIs, and the spans of model names.

use bytes::Bytes;
use proptest::prelude::{any, prop_assert_eq, proptest};
use signalbox_intake::{Api, Delivery, ParseOptions, ParsedRequest, Unread, parse, replace_model};

use crate::completions_and_chats::{chain, chain_of_ids, chain_of_scoped_ids, refusal};
use crate::protobuf_writer::{bytes, frame, number, packed};

fn read(api: Api, body: &str) -> ParsedRequest {
    parse(api, body.as_bytes(), &ParseOptions::new(8)).unwrap()
}

fn refused(api: Api, body: impl AsRef<[u8]>) -> String {
    refusal(parse(api, body.as_ref(), &ParseOptions::new(8)))
}

#[test]
fn responses_request_is_parsed() {
    let body = r#"{"model":"m","input":[{"role":"user","content":"hi"}],"instructions":"be brief","stream":true,
        "max_output_tokens":9}"#;
    let response = read(Api::Responses, body);
    let hashed = b"\xfcsystem\xffbe brief\xff\xfcuser\xffhi\xff";
    assert_eq!(response.chain, chain("m", hashed));
    assert_eq!(response.request.max_output_tokens, Some(9));
    assert_eq!(response.delivery, Delivery::Streamed);
    let text = read(Api::Responses, r#"{"model":"m","input":"0123456789"}"#);
    assert_eq!((text.chain, text.request.prompt_tokens), (chain("m", b"\xfcuser\xff0123456789\xff"), 5));
    let items = r#"[{"role":"system","content":"be kind"},{"role":"user","content":[{"type":"text","text":"hello"}]}]"#;
    let [by_input, by_messages] = ["input", "messages"]
        .map(|name| read(Api::Responses, &format!(r#"{{"model":"m","{name}":{items}}}"#)));
    assert!(!by_input.chain.is_empty());
    assert_eq!(by_input, by_messages);
    let both =
        read(Api::Responses, r#"{"model":"m","messages":[{"role":"user","content":"a"}],"input":"hi"}"#);
    assert_eq!(both.chain, chain("m", b"\xfcuser\xffhi\xff"));
    for body in [
        "{}",
        r#"{"messages":[]}"#,
        r#"{"messages":7}"#,
        r#"{"input":null}"#,
        r#"{"input":""}"#,
        r#"{"input":[]}"#,
        r#"{"input":{}}"#,
        r#"{"input":7}"#,
    ] {
        assert_eq!(refused(Api::Responses, body), "invalid responses request: must have input field");
    }
}

#[test]
fn embeddings_conversations_and_images_are_parsed() {
    let ids = read(Api::Embeddings, r#"{"model":"m","input":[1,2,3]}"#);
    assert_eq!((ids.chain, ids.request.prompt_tokens), (chain_of_ids("m", &[1, 2, 3]), 3));
    let text = read(Api::Embeddings, r#"{"model":"m","input":"0123456789"}"#);
    assert_eq!(text.chain, chain("m", "0123456789"));
    let items = read(Api::Conversations, r#"{"model":"m","items":[{"content":"hi"}]}"#);
    assert_eq!(items.chain, chain("m", b"\xf6\xf8content\xffhi\xff\xf7"));
    let image = read(Api::Images, r#"{"model":"m","prompt":"a black cat","n":2}"#);
    assert_eq!(image.chain, chain("m", "a black cat"));
    for (api, body, text) in [
        (Api::Embeddings, "{}", "invalid embeddings request: must have input field or messages"),
        (
            Api::Embeddings,
            r#"{"input":[-1],"model":"m"}"#,
            "invalid embeddings request: must have input field or messages",
        ),
        (Api::Images, "{}", "invalid images generations request: must have prompt field"),
        (Api::Images, r#"{"prompt":""}"#, "invalid images generations request: must have prompt field"),
        (Api::Images, r#"{"prompt":"a","model":7}"#, "invalid model in request body: it must be a string"),
    ] {
        assert_eq!(refused(api, body), text, "{body}");
    }
}

#[test]
fn anthropic_messages_are_parsed() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"system":[{"type":"text","text":"be brief"}],
        "tools":[1],"max_tokens":7,"stream":true}"#;
    let messages = read(Api::Messages, body);
    let hashed = b"\xfetools\xff\xfa\xfb1\xff\xf9\xfcsystem\xffbe brief\xff\xfcuser\xffhi\xff";
    assert_eq!(messages.chain, chain("m", hashed));
    assert_eq!(messages.request.max_output_tokens, Some(7));
    assert_eq!(messages.delivery, Delivery::Streamed);
    for (body, text) in [
        ("no healthy upstream", "error unmarshaling request body: "),
        ("[]", "error unmarshaling request body: the body is not a JSON object"),
        (r#"{"messages":[{}],"model":"a","model":"b"}"#, "error unmarshaling request body: duplicate field"),
        (r#"{"messages":7}"#, "error parsing messages request: "),
        (r#"{"messages":[1]}"#, "error parsing messages request: "),
        (
            r#"{"messages":[{"role":"a","role":"b"}]}"#,
            "error parsing messages request: duplicate field `role`",
        ),
        ("{}", "invalid messages request: must have at least one message"),
        (r#"{"messages":[]}"#, "invalid messages request: must have at least one message"),
        (r#"{"messages":[{}]}"#, "model not found in request body"),
        (r#"{"messages":[{}],"model":""}"#, "model not found in request body"),
        (r#"{"messages":[{}],"model":7}"#, "invalid model in request body: it must be a string"),
    ] {
        let refused = refused(Api::Messages, body);
        assert!(refused.starts_with(text), "{body}: {refused}");
    }
}

#[test]
fn vllm_request_is_parsed() {
    let body = r#"{"token_ids":[1,2,3],"model":"m","sampling_params":{"max_tokens":4},"stream":true,
        "cache_salt":"s"}"#;
    let generate = read(Api::VllmGenerate, body);
    assert_eq!(generate.chain, chain_of_scoped_ids("m", b"\xfecache_salt\xffs\xff", &[1, 2, 3]));
    assert_eq!(generate.request.prompt_tokens, 3);
    assert_eq!(generate.request.max_output_tokens, Some(4));
    assert_eq!(generate.delivery, Delivery::Streamed);
    let nameless = read(Api::VllmGenerate, r#"{"token_ids":[1,2,3]}"#);
    assert_eq!((nameless.request.model.as_str(), nameless.model_span), ("", None));
    let shown = |hash: &str| {
        let features = format!(r#"{{"mm_hashes":["{hash}"],"mm_placeholders":[{{"offset":2,"length":2}}]}}"#);
        read(Api::VllmGenerate, &format!(r#"{{"token_ids":[1,2,0,0,5,6],"features":{features}}}"#)).chain
    };
    let (cat, dog) = (shown("cat"), shown("dog"));
    assert_eq!(cat[0], dog[0]);
    assert!(cat[1..].iter().all(|block| !dog.contains(block)));
    for (body, text) in [
        ("{", "invalid generate request: the body is truncated: EOF"),
        ("7", "invalid generate request: the body is not a JSON object"),
        ("{}", "invalid generate request: must have non-empty token_ids field"),
        (r#"{"token_ids":[]}"#, "invalid generate request: must have non-empty token_ids field"),
        (
            r#"{"token_ids":[1,-1]}"#,
            "invalid generate request: token_ids must be an array of uint32 integers",
        ),
        (r#"{"token_ids":"a"}"#, "invalid generate request: token_ids must be an array of uint32 integers"),
        (r#"{"token_ids":[1],"model":7}"#, "invalid model in request body: it must be a string"),
    ] {
        let refused = refused(Api::VllmGenerate, body);
        assert!(refused.starts_with(text), "{body}: {refused}");
    }
}

#[test]
fn sglang_request_is_parsed() {
    let body =
        r#"{"input_ids":[1,2,3],"extra_key":"s","sampling_params":{"max_new_tokens":4},"stream":true}"#;
    let generate = read(Api::Generate, body);
    assert_eq!(generate.chain, chain_of_scoped_ids("", b"\xfeextra_key\xffs\xff", &[1, 2, 3]));
    assert_eq!(generate.request.model, "");
    assert_eq!((generate.request.prompt_tokens, generate.request.max_output_tokens), (3, Some(4)));
    assert_eq!(generate.delivery, Delivery::Streamed);
    for (body, text) in [
        ("{", "invalid generate request: the body is truncated: EOF"),
        ("{}", "invalid generate request: input_ids, text, inputs or prompt must be provided"),
        (
            r#"{"input_ids":null,"text":""}"#,
            "invalid generate request: input_ids, text, inputs or prompt must be provided",
        ),
        (r#"{"text":7}"#, "invalid generate request: input_ids, text, inputs or prompt must be provided"),
        (r#"{"input_ids":[]}"#, "invalid generate request: input_ids cannot be empty"),
        (
            r#"{"input_ids":[[-1]]}"#,
            "invalid generate request: input_ids must be an array of uint32 integers",
        ),
        (
            r#"{"input_ids":["a",1]}"#,
            "invalid generate request: input_ids must be an array of uint32 integers",
        ),
        (
            r#"{"input_ids":[4294967296]}"#,
            "invalid generate request: input_ids must be an array of uint32 integers",
        ),
        (r#"{"input_ids":[1],"input_ids":[2]}"#, "invalid generate request: duplicate field"),
    ] {
        let refused = refused(Api::Generate, body);
        assert!(refused.starts_with(text), "{body}: {refused}");
    }
}

#[test]
fn vllm_grpc_request_is_parsed() {
    let tokenized = [bytes(1, b"hello"), packed(2, &[1, 2, 300_000]), number(2, 4), packed(2, &[5])].concat();
    let parts =
        [bytes(1, b"id"), bytes(2, &tokenized), bytes(4, &number(8, 16)), number(5, 1), number(99, 1)];
    let body = frame(&parts.concat());
    let generate = parse(Api::VllmGrpcGenerate, &body, &ParseOptions::new(8)).unwrap();
    assert_eq!(generate.chain, chain_of_ids("", &[1, 2, 300_000, 4, 5]));
    assert_eq!((generate.request.prompt_tokens, generate.request.max_output_tokens), (5, Some(16)));
    assert_eq!((generate.delivery, generate.model_span), (Delivery::Streamed, None));
    let text = parse(Api::VllmGrpcGenerate, &frame(&bytes(3, b"0123456789")), &ParseOptions::new(8)).unwrap();
    assert_eq!((text.chain, text.request.prompt_tokens), (chain("", "0123456789"), 3));
    let shown = |hash: &[u8]| {
        let media = [bytes(6, hash), bytes(5, &number(1, 2))].concat();
        let body = frame(&[bytes(2, &packed(2, &[1, 2, 0, 0])), bytes(7, &media)].concat());
        parse(Api::VllmGrpcGenerate, &body, &ParseOptions::new(8)).unwrap().chain
    };
    assert_eq!(shown(b"cat")[0], shown(b"dog")[0]);
    assert_ne!(shown(b"cat")[1], shown(b"dog")[1]);
    let embed =
        parse(Api::VllmGrpcEmbed, &frame(&bytes(2, &packed(2, &[1, 2]))), &ParseOptions::new(8)).unwrap();
    assert_eq!(embed.chain, chain_of_ids("", &[1, 2]));
}

#[test]
fn invalid_vllm_grpc_messages_are_rejected() {
    let payload = "invalid or unsupported gRPC payload";
    let whole = frame(&bytes(2, &packed(2, &[1])));
    let mut compressed = whole.clone();
    compressed[0] = 1;
    for api in [Api::VllmGrpcGenerate, Api::VllmGrpcEmbed] {
        assert!(parse(api, &whole, &ParseOptions::new(8)).is_ok());
        let read = parse(api, &compressed, &ParseOptions::new(8)).unwrap();
        assert_eq!((read.unread, read.chain.len()), (Some(Unread::Encoding), 0));
        for body in [&b""[..], &whole[..4], &whole[..whole.len() - 1], &whole.repeat(2)] {
            assert_eq!(refused(api, body), payload);
        }
        assert_eq!(refused(api, frame(&bytes(2, b"\x12\x05\x01"))), payload);
        assert_eq!(refused(api, frame(&bytes(2, &packed(2, &[1])).repeat(2))), payload);
    }
    let other_input = frame(&[bytes(9, b"embeddings"), number(5, 1)].concat());
    let read = parse(Api::VllmGrpcGenerate, &other_input, &ParseOptions::new(8)).unwrap();
    assert_eq!((read.unread, read.delivery), (Some(Unread::PromptForm), Delivery::Streamed));
    assert_eq!(refused(Api::VllmGrpcGenerate, frame(&bytes(2, b""))), "missing tokenized input");
    assert_eq!(refused(Api::VllmGrpcEmbed, frame(b"")), "missing tokenized input in EmbedRequest");
}

/// Returns a request to Vertex AI with this JSON in its `HttpBody`.
fn vertex(json: &str) -> Vec<u8> {
    let http_body = [bytes(1, b"application/json"), bytes(2, json.as_bytes())].concat();
    frame(&[bytes(1, b"projects/p/locations/l/endpoints/e"), bytes(2, &http_body), number(9, 1)].concat())
}

#[test]
fn vertex_request_is_parsed_like_its_payload() {
    let chat = r#"{"model":"m","messages":[{"role":"user","content":"0123456789"}],"stream":true}"#;
    let responses = r#"{"model":"m","input":"0123456789"}"#;
    for (api, payload_api, json) in
        [(Api::VertexChat, Api::Chat, chat), (Api::VertexPredict, Api::Responses, responses)]
    {
        let body = vertex(json);
        let parsed = parse(api, &body, &ParseOptions::new(8)).unwrap();
        assert_eq!(&body[parsed.model_span.clone().unwrap()], b"\"m\"");
        let alone = read(payload_api, json);
        assert_eq!(ParsedRequest { api: payload_api, model_span: alone.model_span.clone(), ..parsed }, alone);
    }
}

#[test]
fn replacing_a_model_adjusts_grpc_lengths() {
    let json = |name: &str| format!(r#"{{"model":"{name}","input":"0123456789"}}"#);
    for (old, new) in [("m", "x".repeat(300)), ("m", "n".to_owned()), (&"x".repeat(300), "m".to_owned())] {
        let body = Bytes::from(vertex(&json(old)));
        let span = parse(Api::VertexPredict, &body, &ParseOptions::new(8)).unwrap().model_span.unwrap();
        assert_eq!(replace_model(Api::VertexPredict, &body, &span, &new), vertex(&json(&new)));
        assert_eq!(replace_model(Api::VertexPredict, &body, &(0..2), &new), body);
    }
    let target = |requested: &str| requested.is_empty().then(|| "tuned".to_owned());
    let body = Bytes::from(vertex(r#"{"input":"0123456789"}"#));
    let options = ParseOptions { rewrite: &target, ..ParseOptions::new(8) };
    let span = parse(Api::VertexPredict, &body, &options).unwrap().model_span.unwrap();
    let expected = vertex(r#"{"model":"tuned","input":"0123456789"}"#);
    assert_eq!(replace_model(Api::VertexPredict, &body, &span, "tuned"), expected);
}

#[test]
fn invalid_vertex_messages_are_rejected() {
    let payload = "invalid or unsupported gRPC payload";
    let http_body = bytes(2, &bytes(2, br#"{"model":"m","input":"i"}"#));
    for (body, text) in [
        (frame(&http_body)[1..].to_vec(), payload),
        (frame(&http_body.repeat(2)), payload),
        (frame(&bytes(2, b"\x12\x05{}")), payload),
        (frame(b""), "error unmarshaling request bodyMap: the body is empty"),
    ] {
        assert_eq!(refused(Api::VertexPredict, body), text);
    }
    let other = vertex(r#"{"model":"m","instances":[1]}"#);
    let read = parse(Api::VertexPredict, &other, &ParseOptions::new(8)).unwrap();
    assert_eq!((read.unread, &other[read.model_span.unwrap()]), (Some(Unread::PromptForm), &b"\"m\""[..]));
    assert!(refused(Api::VertexChat, vertex("{}")).contains("must have valid messages"));
}

#[test]
fn null_model_counts_as_missing() {
    let target = |requested: &str| requested.is_empty().then(|| "tuned".to_owned());
    let body = Bytes::from_static(br#"{"model" : null , "prompt":"p"}"#);
    let parsed = parse(Api::Completions, &body, &ParseOptions::new(8)).unwrap();
    assert_eq!((parsed.request.model.as_str(), parsed.unread), ("", Some(Unread::Model)));
    let parsed =
        parse(Api::Completions, &body, &ParseOptions { rewrite: &target, ..ParseOptions::new(8) }).unwrap();
    assert_eq!((parsed.request.model.as_str(), parsed.requested_model.as_deref()), ("tuned", Some("")));
    let spliced = replace_model(Api::Completions, &body, &parsed.model_span.unwrap(), "tuned");
    assert_eq!(spliced, r#"{"model" : "tuned" , "prompt":"p"}"#);
    let twice = r#"{"model":null,"prompt":"p","model":"m"}"#;
    assert!(refused(Api::Completions, twice).contains("duplicate field `model`"));
}

#[test]
fn too_long_model_name_is_rejected() {
    let body = |len: usize| format!(r#"{{"model":"{}","prompt":"p"}}"#, "m".repeat(len));
    assert_eq!(1_024, read(Api::Completions, &body(1_024)).request.model.len());
    let text = "model in request body is longer than 1024 bytes";
    assert_eq!(refused(Api::Completions, body(1_025)), text);
}

#[test]
fn span_outside_the_body_replaces_nothing() {
    let body = Bytes::from_static(b"0123");
    for span in [3..9, 7..9, usize::MAX..usize::MAX] {
        assert_eq!(replace_model(Api::Completions, &body, &span, "m"), body);
    }
    #[expect(clippy::reversed_empty_ranges)] // the point of it
    let reversed = 3..1;
    assert_eq!(replace_model(Api::Completions, &body, &reversed, "m"), body);
}

proptest! {
    #[test]
    fn only_the_model_is_replaced(
        old in "[a-z\"\\\\\u{e4}]{1,20}",
        new in ".{0,20}",
        seed in any::<u64>(),
        padding in "[ \n]{0,3}",
    ) {
        let json = |name: &str| serde_json::to_string(name).unwrap();
        let body = |name: &str| format!(
            r#"{{{padding}"seed":1{seed},"x":{{"model":"no"}},"prompt":"p","model":{padding}{}{padding},"f":1.10e+2}}"#,
            json(name)
        );
        let before = Bytes::from(body(&old));
        let span = parse(Api::Completions, &before, &ParseOptions::new(8)).unwrap().model_span.unwrap();
        let spliced = replace_model(Api::Completions, &before, &span, &new);
        prop_assert_eq!(&spliced, &body(&new));
        if !new.is_empty() {
            prop_assert_eq!(parse(Api::Completions, &spliced, &ParseOptions::new(8)).unwrap().request.model, new);
        }
    }
}
