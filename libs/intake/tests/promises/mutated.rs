//! The corpus, mutated at random: nothing panics, and cuts make no difference.

use std::fs;
use std::path::Path;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_intake::answer::{AnswerKind, Renamer};
use signalbox_intake::{Api, Reading, parse, splice_model};

use crate::answers::read;
use crate::renames::renamed;

const ROUNDS: u64 = 4_000;

const APIS: [Api; 14] = [
    Api::Completions,
    Api::Chat,
    Api::Responses,
    Api::Embeddings,
    Api::Conversations,
    Api::Images,
    Api::Messages,
    Api::VllmGenerate,
    Api::SglangGenerate,
    Api::VllmGrpcGenerate,
    Api::VllmGrpcEmbed,
    Api::VertexChat,
    Api::VertexPredict,
    Api::Opaque,
];

const KINDS: [AnswerKind; 4] =
    [AnswerKind::Events, AnswerKind::Whole, AnswerKind::Framed, AnswerKind::Unread];

/// The files of a folder of the corpus, in the order of their names.
fn corpus(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn pick<'a, T>(rng: &mut SmallRng, all: &'a [T]) -> &'a T {
    &all[rng.random_range(0..all.len())]
}

/// One of the corpus with some bytes changed, removed, repeated, or replaced by those of another.
fn mutated(rng: &mut SmallRng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = pick(rng, corpus).clone();
    for _ in 0..rng.random_range(0..6) {
        let from = rng.random_range(0..=bytes.len());
        let to = rng.random_range(from..=bytes.len().min(from + 20));
        match rng.random_range(0..5) {
            0 => bytes.truncate(from),
            1 => drop(bytes.drain(from..to)),
            2 => {
                let again = bytes[from..to].repeat(rng.random_range(1..4));
                bytes.splice(from..from, again);
            }
            3 => {
                let other = pick(rng, corpus);
                let start = rng.random_range(0..=other.len());
                bytes.splice(from..to, other[start..].iter().copied());
            }
            _ if from < bytes.len() => bytes[from] = *pick(rng, b"\"\\{}[]:,\n\0\x80\xff019 e-"),
            _ => {}
        }
    }
    bytes
}

fn cuts(rng: &mut SmallRng, len: usize) -> Vec<usize> {
    let longest = rng.random_range(1..=len.max(1));
    (0..50).map(|_| rng.random_range(0..=longest)).collect()
}

#[test]
fn whole_requests_of_the_corpus_are_read() {
    let corpus = corpus("request");
    assert!(corpus.len() >= 10);
    for body in &corpus {
        assert!(
            APIS[..11].iter().any(|api| parse(*api, body, &Reading::plain(16)).is_ok()),
            "{:?}",
            String::from_utf8_lossy(body)
        );
    }
}

#[test]
fn mutated_requests_are_read_or_refused() {
    let corpus = corpus("request");
    let (mut rng, mut accepted) = (SmallRng::seed_from_u64(1), 0);
    for _ in 0..ROUNDS {
        let body = mutated(&mut rng, &corpus);
        for api in APIS {
            let Ok(intake) = parse(api, &body, &Reading::plain(16)) else { continue };
            accepted += usize::from(api != Api::Opaque);
            assert!(intake.chain.len() * 16 <= body.len() * 4, "a chain is no longer than its body makes it");
            if let Some(span) = &intake.model_span {
                let spliced = splice_model(api, &body.clone().into(), span, "another");
                let again = parse(api, &spliced, &Reading::plain(16)).unwrap();
                assert_eq!(again.request.model, "another");
                assert_eq!(again.request.prompt_tokens, intake.request.prompt_tokens);
            }
        }
    }
    assert!(accepted > ROUNDS as usize / 10, "mutations left something to accept: {accepted}");
}

#[test]
fn mutated_answers_read_the_same_in_any_pieces() {
    let corpus = corpus("sse");
    assert!(corpus.len() >= 10);
    let (mut rng, mut told) = (SmallRng::seed_from_u64(2), 0);
    for _ in 0..ROUNDS {
        let answer = mutated(&mut rng, &corpus);
        let cuts = cuts(&mut rng, answer.len());
        for api in APIS {
            for kind in KINDS {
                let whole = read(api, kind, &answer, &[]);
                told += usize::from(whole.is_some());
                assert_eq!(read(api, kind, &answer, &cuts), whole, "{api:?} {kind:?} {cuts:?} {answer:?}");
            }
        }
        let target = *pick(&mut rng, &["m", "llama", "a\"b"]);
        for (api, kind) in [(Api::Chat, AnswerKind::Events), (Api::VertexChat, AnswerKind::Framed)] {
            let renamed =
                |cuts: &[usize]| renamed(&answer, cuts, Renamer::new(api, kind, target, "asked").unwrap()).0;
            assert_eq!(renamed(&cuts), renamed(&[]), "{api:?} {cuts:?} {answer:?}");
        }
    }
    assert!(told > ROUNDS as usize / 10, "mutations left something to read: {told}");
}
