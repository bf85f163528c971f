//! Memory allocations for large bodies.

use bytes::Bytes;
use signalbox_intake::response::{ModelRenamer, ResponseFormat, ResponseReader};
use signalbox_intake::{Api, ParseOptions, parse};

use crate::protobuf_writer::{bytes, frame, packed};

const IDS: u32 = 1_000_000;
const BLOCK_BYTES: u32 = 256;

/// Returns the number of allocations and the maximum number of bytes allocated at a time.
fn allocations(run: impl FnOnce()) -> (u64, u64) {
    let info = allocation_counter::measure(run);
    (info.count_total, info.bytes_max)
}

/// Returns large bodies.
fn bodies() -> Vec<(Api, Vec<u8>)> {
    let ids: Vec<u32> = (0..IDS).map(|at| at % 128_000).collect();
    let json = serde_json::to_string(&ids).unwrap();
    let text = "All work and no play. ".repeat(200_000);
    let messages = vec![format!(r#"{{"role":"user","content":"{}"}}"#, &text[..4_000]); 1_000].join(",");
    let lines = r#"{\"a\": \u4e2d}\n"#.repeat(300_000);
    let parts = vec![format!(r#"{{"type":"text","text":"{}"}}"#, &text[..2_000]); 2_000].join(",");
    let tools =
        vec![r#"{"name":"f","input_schema":{"type":"object","properties":{"a":{}}}}"#; 1_000].join(",");
    let blocks = format!(r#"{{"tools":[{tools}],"messages":[{{"content":[{parts}]}}],"model":"m"}}"#);
    vec![
        (Api::Completions, format!(r#"{{"prompt":"{lines}","model":"m"}}"#).into()),
        (Api::Messages, blocks.into()),
        (Api::Completions, format!(r#"{{"prompt":{json},"model":"m"}}"#).into()),
        (Api::Completions, format!(r#"{{"prompt":"{text}","model":"m"}}"#).into()),
        (Api::Chat, format!(r#"{{"messages":[{messages}],"tools":{json},"model":"m"}}"#).into()),
        (Api::Generate, format!(r#"{{"input_ids":{json}}}"#).into()),
        (Api::VllmGrpcGenerate, frame(&bytes(2, &packed(2, &ids)))),
    ]
}

#[test]
fn large_body_allocates_only_its_chain() {
    for (api, body) in bodies() {
        let mut blocks = 0;
        let (count, max_bytes) =
            allocations(|| blocks = parse(api, &body, &ParseOptions::new(BLOCK_BYTES)).unwrap().chain.len());
        assert!(blocks >= 10_000, "{api:?}: {blocks} blocks");
        // The chain grows by doubling, and both copies exist while it grows.
        let chain_bytes = blocks as u64 * 8;
        assert!(max_bytes <= 4 * chain_bytes + 100_000, "{api:?}: {max_bytes} bytes at a time");
        assert!(count <= 64, "{api:?}: {count} allocations");
    }
}

#[test]
fn escaped_keys_are_not_copied() {
    let message = r#"{"r\u006fle":"user","\u0078":1,"c\u006fntent":[{"type":"new","\u0079":2}]}"#;
    let messages = vec![message; 1_000].join(",");
    let tools = vec![r#"{"n\u0061me":"f","\u0078":{"\u0079":1}}"#; 1_000].join(",");
    let body = format!(r#"{{"model":"m","tools":[{tools}],"messages":[{messages}]}}"#);
    let (count, _) =
        allocations(|| drop(parse(Api::Chat, body.as_bytes(), &ParseOptions::new(BLOCK_BYTES)).unwrap()));
    assert!(count <= 64, "{count} allocations");
}

#[test]
fn claimed_lengths_allocate_nothing() {
    let claims = [
        (Api::VllmGrpcGenerate, b"\0\xff\xff\xff\xff\x12\xff\xff\xff\xff\x0f".to_vec()),
        (Api::VllmGrpcEmbed, frame(b"\x12\xff\xff\xff\xff\x0f")),
    ];
    for (api, body) in claims {
        let (_, max_bytes) =
            allocations(|| assert!(parse(api, &body, &ParseOptions::new(BLOCK_BYTES)).is_err()));
        assert!(max_bytes <= 1_000, "{max_bytes} bytes");
    }
    let mut reader = ResponseReader::new(Api::VllmGrpcGenerate, ResponseFormat::Grpc).unwrap();
    let (_, max_bytes) = allocations(|| {
        (0..100).for_each(|_| reader.push(b"\0\xff\xff\xff\xff\x0a\xff\xff\xff\xff\x0f"));
    });
    assert_eq!(max_bytes, 0);
}

#[test]
fn responses_are_not_buffered() {
    let piece = Bytes::from(vec![b'x'; 60_000]);
    for (api, format) in [
        (Api::Chat, ResponseFormat::EventStream),
        (Api::Chat, ResponseFormat::Json),
        (Api::VllmGrpcGenerate, ResponseFormat::Grpc),
    ] {
        for start in ["{\"usage\":{\"a\":\"", "data: {\"usage\":{\"a\":\"", "data: {\"choices\":[\""] {
            let (_, max_bytes) = allocations(|| {
                let mut reader = ResponseReader::new(api, format).unwrap();
                reader.push(start.as_bytes());
                (0..100).for_each(|_| reader.push(&piece));
            });
            assert!(max_bytes <= 200_000, "{api:?} {format:?}: {max_bytes} bytes at a time");
        }
    }
    let event =
        Bytes::from_static(b"data: {\"model\":\"llama\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
    let mut renamer =
        ModelRenamer::new(Api::Chat, ResponseFormat::EventStream, "llama", "requested").unwrap();
    let (count, _) = allocations(|| (0..100).for_each(|_| drop(renamer.push(event.clone(), false))));
    assert_eq!(count, 0, "allocations to replace 100 names");
    let mut reader = ResponseReader::new(Api::Chat, ResponseFormat::EventStream).unwrap();
    reader.push(&event);
    assert!(reader.output().is_some());
    let (count, _) = allocations(|| (0..100).for_each(|_| reader.push(&event)));
    assert_eq!(count, 0, "allocations to read 100 events after the first output");
}
