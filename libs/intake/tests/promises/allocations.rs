//! What it takes to read large bodies.

use bytes::Bytes;
use signalbox_intake::answer::{AnswerKind, Renamer, UsageReader};
use signalbox_intake::{Api, Reading, parse};

use crate::proto::{bytes, frame, packed};

const IDS: u32 = 1_000_000;
const BLOCK_BYTES: u32 = 256;

/// How often something allocates, and how many bytes at most at a time.
fn allocations(f: impl FnOnce()) -> (u64, u64) {
    let info = allocation_counter::measure(f);
    (info.count_total, info.bytes_max)
}

/// Large bodies.
fn bodies() -> Vec<(Api, Vec<u8>)> {
    let ids: Vec<u32> = (0..IDS).map(|at| at % 128_000).collect();
    let json = serde_json::to_string(&ids).unwrap();
    let text = "All work and no play. ".repeat(200_000);
    let messages = vec![format!(r#"{{"role":"user","content":"{}"}}"#, &text[..4_000]); 1_000].join(",");
    vec![
        (Api::Completions, format!(r#"{{"prompt":{json},"model":"m"}}"#).into()),
        (Api::Completions, format!(r#"{{"prompt":"{text}","model":"m"}}"#).into()),
        (Api::Chat, format!(r#"{{"messages":[{messages}],"tools":{json},"model":"m"}}"#).into()),
        (Api::SglangGenerate, format!(r#"{{"input_ids":{json}}}"#).into()),
        (Api::VllmGrpcGenerate, frame(&bytes(2, &packed(2, &ids)))),
    ]
}

#[test]
fn a_large_body_costs_its_chain_and_no_more() {
    for (api, body) in bodies() {
        let mut blocks = 0;
        let (count, most_bytes) =
            allocations(|| blocks = parse(api, &body, &Reading::plain(BLOCK_BYTES)).unwrap().chain.len());
        assert!(blocks >= 10_000, "{api:?}: {blocks} blocks");
        // The chain grows by doubling, and while it does, there are two of them.
        let chain_bytes = blocks as u64 * 8;
        assert!(most_bytes <= 4 * chain_bytes + 100_000, "{api:?}: {most_bytes} bytes at a time");
        assert!(count <= 64, "{api:?}: {count} allocations");
    }
}

#[test]
fn what_a_client_claims_costs_nothing() {
    let claims = [
        (Api::VllmGrpcGenerate, b"\0\xff\xff\xff\xff\x12\xff\xff\xff\xff\x0f".to_vec()),
        (Api::VllmGrpcEmbed, frame(b"\x12\xff\xff\xff\xff\x0f")),
    ];
    for (api, body) in claims {
        let (_, most_bytes) =
            allocations(|| assert!(parse(api, &body, &Reading::plain(BLOCK_BYTES)).is_err()));
        assert!(most_bytes <= 1_000, "{most_bytes} bytes");
    }
    let (_, most_bytes) = allocations(|| {
        let mut reader = UsageReader::new(Api::VllmGrpcGenerate, AnswerKind::Framed);
        (0..100).for_each(|_| reader.push(b"\0\xff\xff\xff\xff\x0a\xff\xff\xff\xff\x0f"));
    });
    assert_eq!(most_bytes, 0);
}

#[test]
fn an_answer_is_not_kept() {
    let piece = Bytes::from(vec![b'x'; 60_000]);
    for kind in [AnswerKind::Events, AnswerKind::Whole, AnswerKind::Framed] {
        for api in [Api::Chat, Api::VllmGrpcGenerate] {
            let (_, most_bytes) = allocations(|| {
                let mut reader = UsageReader::new(api, kind);
                reader.push(b"{\"usage\":{\"a\":\"");
                (0..100).for_each(|_| reader.push(&piece));
            });
            assert!(most_bytes <= 200_000, "{api:?} {kind:?}: {most_bytes} bytes at a time");
        }
    }
    let event =
        Bytes::from_static(b"data: {\"model\":\"llama\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
    let mut renamer = Renamer::new(Api::Chat, AnswerKind::Events, "llama", "asked").unwrap();
    let (count, _) = allocations(|| (0..100).for_each(|_| drop(renamer.push(event.clone(), false))));
    assert_eq!(count, 0, "allocations to replace 100 names");
}
