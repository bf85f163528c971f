//! Tests of [`GrpcMessageReader`] with splits at all positions that matter.

use super::*;

fn frame(message: &[u8]) -> Vec<u8> {
    [&[0], &(message.len() as u32).to_be_bytes()[..], message].concat()
}

fn read(message_type: MessageType, body: &[u8], piece_bytes: usize) -> [Option<u64>; 3] {
    let mut reader = GrpcMessageReader::new(message_type);
    body.chunks(piece_bytes).for_each(|piece| reader.push(piece));
    let Usage { prompt_tokens, completion_tokens, cached_tokens } = reader.usage();
    [prompt_tokens, completion_tokens, cached_tokens]
}

const PIECES: [usize; 5] = [1, 2, 3, 7, usize::MAX];

#[test]
fn usage_in_chunks_and_completion_is_read() {
    let chunk = b"\x0a\x0c\x0a\x02\x07\x08\x10\xac\x02\x18\x01\x20\x96\x01";
    let complete = b"\x12\x0f\x0a\x02\x07\x08\x12\x04stop\x20\x09\x28\x80\x02";
    for piece_bytes in PIECES {
        let one = read(MessageType::Generate, &frame(chunk), piece_bytes);
        assert_eq!(one, [Some(300), Some(1), Some(150)], "{piece_bytes}");
        let both = [frame(chunk), frame(b""), frame(complete)].concat();
        let both = read(MessageType::Generate, &both, piece_bytes);
        assert_eq!(both, [Some(300), Some(9), Some(256)], "{piece_bytes}");
    }
}

#[test]
fn usage_of_an_embedding_is_read() {
    let embedding = b"\x0a\x08........\x10\x05\x18\x03";
    for piece_bytes in PIECES {
        assert_eq!(read(MessageType::Embed, &frame(embedding), piece_bytes), [Some(5), None, None]);
    }
}

#[test]
fn invalid_message_does_not_affect_the_next_one() {
    let good = frame(b"\x0a\x02\x10\x05");
    for bad in [
        &b"\x0b\x02\x10\x06"[..],
        b"\x0a\x09\x10\x06",
        b"\x0a\x03\x0a\x09\x10\x10\x06",
        b"\x0a\x01\x10\x06",
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ] {
        for piece_bytes in PIECES {
            let body = [frame(bad), good.clone()].concat();
            assert_eq!(read(MessageType::Generate, &frame(bad), piece_bytes)[1..], [None, None], "{bad:?}");
            assert_eq!(read(MessageType::Generate, &body, piece_bytes)[0], Some(5), "{bad:?}");
        }
    }
    let mut compressed = good;
    compressed[0] = 1;
    assert_eq!(read(MessageType::Generate, &compressed, 1), [None; 3]);
}

#[test]
fn token_ids_and_embeddings_are_output() {
    let event = Some(OutputForm::Event);
    let document = Some(OutputForm::Document);
    let (generate, embed) = (MessageType::Generate, MessageType::Embed);
    for (message_type, message, output) in [
        (generate, &b"\x0a\x04\x0a\x02\x07\x08"[..], event),
        (generate, b"\x0a\x02\x08\x07", event),
        (generate, b"\x0a\x04\x10\x05\x18\x00", None),
        (generate, b"\x0a\x02\x0a\x00", None),
        (generate, b"\x0a\x03\x0a\x09\x07", None),
        (generate, b"\x12\x0a\x0a\x02\x07\x08\x12\x04stop", document),
        (generate, b"\x12\x06\x12\x04stop", None),
        (embed, b"\x0a\x04....", document),
        (embed, b"\x10\x05", None),
    ] {
        for piece_bytes in PIECES {
            let mut reader = GrpcMessageReader::new(message_type);
            frame(message).chunks(piece_bytes).for_each(|piece| reader.push(piece));
            reader.end();
            assert_eq!(reader.output(), output, "{message:?} {piece_bytes}");
        }
    }
}
