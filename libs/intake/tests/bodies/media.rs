//! Images, audio, video and files: one digest in the chain, and tokens of their kind.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use signalbox_intake::{Api, ParseOptions, ParsedRequest, parse};
use signalbox_types::{MediaKind, MediaWeights, PromptSize};

const BLOCK_BYTES: u32 = 64;

fn read(api: Api, body: &str) -> ParsedRequest {
    parse(api, body.as_bytes(), &ParseOptions::new(BLOCK_BYTES)).unwrap()
}

/// Returns a request with this part of a content between two texts.
fn request(api: Api, part: &str) -> ParsedRequest {
    let text = |kind: &str, byte: &str| format!(r#"{{"type":"{kind}","text":"{}"}}"#, byte.repeat(300));
    let kind = if api == Api::Responses { "input_text" } else { "text" };
    let parts = [text(kind, "a"), part.to_owned(), text(kind, "b")].join(",");
    let field = if api == Api::Responses { "input" } else { "messages" };
    read(api, &format!(r#"{{"model":"m","{field}":[{{"role":"user","content":[{parts}]}}]}}"#))
}

fn png(width: u32, height: u32, bytes: usize) -> String {
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let header = [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", &size[..], &[8, 2, 0, 0, 0]].concat();
    STANDARD.encode([header, vec![0x5a; bytes]].concat())
}

/// Returns the form of an embedded image in each API.
fn image_forms(base64: &str) -> [(Api, String); 5] {
    let url = format!("data:image/png;base64,{base64}");
    [
        (Api::Chat, format!(r#"{{"type":"image_url","image_url":{{"url":"{url}"}}}}"#)),
        (Api::Chat, format!(r#"{{"image_url":"{url}","type":"image_url","uuid":"x"}}"#)),
        (Api::Chat, format!(r#"{{"type":"image_url","image_url":{{"url":"{}"}}}}"#, url.replace('/', r"\/"))),
        (Api::Responses, format!(r#"{{"type":"input_image","image_url":"{url}","detail":"auto"}}"#)),
        (
            Api::Messages,
            format!(
                r#"{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{base64}"}}}}"#
            ),
        ),
    ]
}

#[test]
fn image_is_one_digest_and_weighs_its_patches_in_every_form() {
    let base64 = png(1_920, 1_080, 1_000_000);
    let chains = image_forms(&base64).map(|(api, part)| {
        let parsed = request(api, &part);
        let [image] = parsed.request.prompt.media[..] else { panic!("{:?}", parsed.request.prompt) };
        // The digest lies behind 300 bytes of text and the marks of the message.
        assert_eq!((image.kind, image.block, image.tokens), (MediaKind::Image, 5, 69 * 39));
        let text_tokens = parsed.request.prompt.text_bytes.div_ceil(4);
        assert!((150..160).contains(&text_tokens), "{text_tokens}");
        assert_eq!(parsed.request.prompt_tokens, text_tokens + 69 * 39);
        assert!(parsed.chain.len() < 12, "{} blocks", parsed.chain.len());
        parsed.chain
    });
    assert!(chains.iter().all(|chain| *chain == chains[0]), "one image has one chain");
}

#[test]
fn different_images_share_only_what_precedes_them() {
    let of = |last: &str| {
        let base64 = png(100, 100, 3_000).replace("WlpaWlpa=", "") + last;
        request(Api::Chat, &image_forms(&base64)[0].1)
    };
    let (one, other) = (of("AAAA"), of("AAAB"));
    assert_eq!(one.request.prompt, other.request.prompt);
    let block = one.request.prompt.media[0].block as usize;
    // The digest ends in this block and begins in the one before.
    assert_eq!(one.chain[..block - 1], other.chain[..block - 1]);
    assert!(one.chain[block..].iter().all(|hash| !other.chain.contains(hash)));
}

#[test]
fn media_weigh_the_defaults_of_their_kinds() {
    let weights = MediaWeights::default();
    let audio = STANDARD.encode(vec![7; 30_000]);
    let wav_header =
        [b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0", &[0; 4][..], &32_000_u32.to_le_bytes()].concat();
    let wav = STANDARD.encode([wav_header, vec![7; 60_000 - 32]].concat());
    let file = "x".repeat(100_000);
    for (api, part, kind, tokens) in [
        (
            Api::Chat,
            r#"{"type":"image_url","image_url":{"url":"https://a/b.png"}}"#,
            MediaKind::Image,
            weights.image_tokens,
        ),
        (Api::Responses, r#"{"type":"input_image","file_id":"f"}"#, MediaKind::Image, weights.image_tokens),
        (
            Api::Messages,
            r#"{"type":"image","source":{"type":"url","url":"https://a/b"}}"#,
            MediaKind::Image,
            weights.image_tokens,
        ),
        (
            Api::Messages,
            r#"{"type":"image","source":{"type":"file","file_id":"f"}}"#,
            MediaKind::Image,
            weights.image_tokens,
        ),
        (
            Api::Chat,
            &*format!(r#"{{"type":"input_audio","input_audio":{{"data":"{audio}","format":"mp3"}}}}"#),
            MediaKind::Audio,
            47,
        ),
        (
            Api::Chat,
            &*format!(r#"{{"type":"input_audio","input_audio":{{"data":"{wav}","format":"wav"}}}}"#),
            MediaKind::Audio,
            47,
        ),
        (
            Api::Chat,
            r#"{"type":"audio_url","audio_url":{"url":"https://a/b"}}"#,
            MediaKind::Audio,
            weights.audio_tokens,
        ),
        (
            Api::Chat,
            r#"{"type":"video_url","video_url":{"url":"https://a/b"}}"#,
            MediaKind::Video,
            weights.video_tokens,
        ),
        (
            Api::Chat,
            &*format!(r#"{{"type":"file","file":{{"file_data":"{file}"}}}}"#),
            MediaKind::File,
            weights.file_tokens,
        ),
        (
            Api::Responses,
            &*format!(r#"{{"type":"input_file","file_data":"{file}"}}"#),
            MediaKind::File,
            weights.file_tokens,
        ),
        (
            Api::Messages,
            &*format!(r#"{{"type":"document","source":{{"type":"base64","data":"{file}"}}}}"#),
            MediaKind::File,
            weights.file_tokens,
        ),
        (
            Api::Responses,
            &*format!(r#"{{"type":"new","x":{{"y":["data:image/png;base64,{file}"]}}}}"#),
            MediaKind::Image,
            weights.image_tokens,
        ),
    ] {
        let parsed = request(api, part);
        let shown = &part[..part.len().min(100)];
        let [medium] = parsed.request.prompt.media[..] else {
            panic!("{shown}: {:?}", parsed.request.prompt)
        };
        assert_eq!((medium.kind, medium.tokens), (kind, tokens), "{shown}");
        assert!(parsed.request.prompt.text_bytes < 700, "{shown}: counted as text");
    }
}

#[test]
fn weights_are_configurable() {
    let media_weights = MediaWeights { image_tokens: 7, ..MediaWeights::default() };
    let options = ParseOptions { media_weights, ..ParseOptions::new(BLOCK_BYTES) };
    let body =
        r#"{"model":"m","messages":[{"content":[{"type":"image_url","image_url":{"url":"https://a"}}]}]}"#;
    let parsed = parse(Api::Chat, body.as_bytes(), &options).unwrap();
    assert_eq!(parsed.request.prompt.media[0].tokens, 7);
}

#[test]
fn document_of_text_is_text() {
    let text = "a page of a book. ".repeat(100);
    for source in [
        format!(r#"{{"type":"text","media_type":"text/plain","data":"{text}"}}"#),
        format!(r#"{{"type":"content","content":"{text}"}}"#),
        format!(r#"{{"type":"content","content":[{{"type":"text","text":"{text}"}}]}}"#),
    ] {
        let parsed = request(Api::Messages, &format!(r#"{{"type":"document","source":{source}}}"#));
        assert!(parsed.request.prompt.media.is_empty());
        assert!(parsed.request.prompt.text_bytes > 2_400, "{source}");
    }
}

#[test]
fn images_in_tool_results_are_media() {
    let base64 = png(280, 280, 50_000);
    let image = format!(r#"{{"type":"image","source":{{"type":"base64","data":"{base64}"}}}}"#);
    let result = format!(
        r#"{{"type":"tool_result","tool_use_id":"1","content":[{{"type":"text","text":"x"}},{image}]}}"#
    );
    let parsed = request(Api::Messages, &result);
    assert_eq!(parsed.request.prompt.media[0].tokens, 100);
    let url = format!("data:image/png;base64,{base64}");
    for output in [
        format!(r#"[{{"type":"input_image","image_url":"{url}"}}]"#),
        format!(r#"{{"type":"computer_screenshot","image_url":"{url}"}}"#),
    ] {
        let kind = if output.starts_with('[') { "function_call_output" } else { "computer_call_output" };
        let item = format!(r#"{{"type":"{kind}","call_id":"1","output":{output}}}"#);
        let parsed = read(Api::Responses, &format!(r#"{{"model":"m","input":[{item}]}}"#));
        assert_eq!(parsed.request.prompt.media[0].tokens, 100, "{kind}");
        assert!(parsed.request.prompt.text_bytes < 100);
    }
}

#[test]
fn contents_are_read_down_to_a_depth() {
    let image = r#"{"type":"image","source":{"type":"url","url":"https://a/b"}}"#;
    let results = |content: &str| format!(r#"{{"type":"tool_result","content":{content}}}"#);
    let documents =
        |content: &str| format!(r#"{{"type":"document","source":{{"type":"content","content":{content}}}}}"#);
    for wrap in [&results as &dyn Fn(&str) -> String, &documents] {
        let nested = |levels| (0..levels).fold(image.to_owned(), |inner, _| wrap(&format!("[{inner}]")));
        for (levels, media) in [(4, 1), (5, 0), (20, 0)] {
            let parsed = request(Api::Messages, &nested(levels));
            assert_eq!(parsed.request.prompt.media.len(), media, "{levels} levels");
            let other = request(Api::Messages, &nested(levels).replace("a/b", "a/c"));
            assert_ne!(parsed.chain, other.chain, "{levels} levels");
        }
    }
}

#[test]
fn medium_that_the_type_names_counts_before_any_other() {
    let of = |api, part: String| request(api, &part).chain;
    let video = |url: &str| {
        of(
            Api::Chat,
            format!(r#"{{"type":"video_url","image_url":"https://a","video_url":{{"url":"{url}"}}}}"#),
        )
    };
    assert_ne!(video("https://b"), video("https://c"));
    let image = |data: &str| {
        let source = format!(r#"{{"type":"base64","url":"https://a","data":"{data}"}}"#);
        of(Api::Messages, format!(r#"{{"type":"image","source":{source}}}"#))
    };
    assert_ne!(image("QUJD"), image("QUJE"));
}

#[test]
fn generated_image_is_a_medium() {
    let base64 = png(280, 280, 50_000);
    let of = |result: &str| {
        let item = format!(r#"{{"type":"image_generation_call","id":"i","result":"{result}"}}"#);
        read(Api::Responses, &format!(r#"{{"model":"m","input":[{item},"{}"]}}"#, "a".repeat(100)))
    };
    let bare = of(&base64);
    let [image] = bare.request.prompt.media[..] else { panic!("{:?}", bare.request.prompt) };
    assert_eq!((image.kind, image.tokens), (MediaKind::Image, 100));
    assert!(bare.request.prompt.text_bytes < 200, "counted as text");
    assert_eq!(bare.chain, of(&format!("data:image/png;base64,{base64}")).chain);
    assert_ne!(bare.chain, of(&png(280, 281, 50_000)).chain);
}

#[test]
fn text_that_looks_like_a_data_url_is_text() {
    let text = format!("data:image/png;base64,{}", png(10, 10, 1_000));
    let parsed = read(Api::Chat, &format!(r#"{{"model":"m","messages":[{{"content":"{text}"}}]}}"#));
    assert!(parsed.request.prompt.media.is_empty());
    assert!(parsed.request.prompt.text_bytes > 1_000);
}

#[test]
fn number_of_media_is_bounded() {
    let image = r#"{"type":"image_url","image_url":{"url":"https://a"}}"#;
    let parts = vec![image; 3_000].join(",");
    let parsed = read(Api::Chat, &format!(r#"{{"model":"m","messages":[{{"content":[{parts}]}}]}}"#));
    assert_eq!(parsed.request.prompt.media.len(), PromptSize::MAX_MEDIA);
    assert_eq!(parsed.request.prompt_tokens / 1_024, 3_000);
}

#[test]
fn blocks_weigh_what_lies_in_them() {
    let parsed = request(Api::Chat, &image_forms(&png(280, 280, 1_000))[0].1);
    let size = &parsed.request.prompt;
    let tokens = |blocks| size.tokens_in_blocks(blocks, BLOCK_BYTES, 4_000, 100);
    let block = size.media[0].block as usize;
    assert_eq!(tokens(block), block as u64 * 16);
    assert_eq!(tokens(block + 1), 100 + ((block as u64 + 1) * 64 - 18) / 4);
    assert!(tokens(parsed.chain.len()) <= parsed.request.prompt_tokens);
    assert!(tokens(parsed.chain.len()) + 16 >= parsed.request.prompt_tokens);
}
