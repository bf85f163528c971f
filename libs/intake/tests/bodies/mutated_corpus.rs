//! Random mutations of the corpus: nothing panics, and the split into pieces makes no difference.

use std::fs;
use std::path::Path;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_intake::response::{ModelRenamer, ResponseFormat};
use signalbox_intake::{Api, ParseOptions, parse, replace_model};

use crate::model_renames::rename_in_pieces;
use crate::response_output::read_shown;

const ROUNDS: u64 = 4_000;

const APIS: [Api; 17] = [
    Api::Completions,
    Api::Chat,
    Api::Responses,
    Api::Embeddings,
    Api::Conversations,
    Api::Images,
    Api::Messages,
    Api::VllmGenerate,
    Api::Generate,
    Api::VllmGrpcGenerate,
    Api::VllmGrpcEmbed,
    Api::VertexChat,
    Api::VertexPredict,
    Api::GenerateStream,
    Api::ModelJson,
    Api::ModelForm,
    Api::Opaque,
];

const FORMATS: [ResponseFormat; 4] =
    [ResponseFormat::EventStream, ResponseFormat::Json, ResponseFormat::Grpc, ResponseFormat::Unread];

/// Returns the files in a folder of the corpus, in the order of their names.
fn corpus(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn choose<'a, T>(rng: &mut SmallRng, all: &'a [T]) -> &'a T {
    &all[rng.random_range(0..all.len())]
}

/// Returns a file of the corpus with some bytes changed, removed, repeated, or replaced by those of another.
fn mutated(rng: &mut SmallRng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = choose(rng, corpus).clone();
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
                let other = choose(rng, corpus);
                let start = rng.random_range(0..=other.len());
                bytes.splice(from..to, other[start..].iter().copied());
            }
            _ if from < bytes.len() => bytes[from] = *choose(rng, b"\"\\{}[]:,\n\0\x80\xff019 e-"),
            _ => {}
        }
    }
    bytes
}

fn splits(rng: &mut SmallRng, len: usize) -> Vec<usize> {
    let longest = rng.random_range(1..=len.max(1));
    (0..50).map(|_| rng.random_range(0..=longest)).collect()
}

#[test]
fn unmodified_corpus_requests_are_parsed() {
    let corpus = corpus("request");
    assert!(corpus.len() >= 10);
    for body in &corpus {
        assert!(
            APIS[..13].iter().any(|api| parse(*api, body, &ParseOptions::new(16)).is_ok()),
            "{:?}",
            String::from_utf8_lossy(body)
        );
    }
}

#[test]
fn mutated_requests_are_parsed_or_rejected() {
    let corpus = corpus("request");
    let (mut rng, mut accepted) = (SmallRng::seed_from_u64(1), 0);
    for _ in 0..ROUNDS {
        let body = mutated(&mut rng, &corpus);
        for api in APIS {
            let Ok(parsed) = parse(api, &body, &ParseOptions::new(16)) else { continue };
            accepted += usize::from(!matches!(api, Api::Opaque | Api::ModelForm));
            assert!(parsed.chain.len() * 16 <= body.len() * 4, "the chain is too long for the body");
            if let Some(span) = &parsed.model_span {
                let spliced = replace_model(api, &body.clone().into(), span, "another");
                let again = parse(api, &spliced, &ParseOptions::new(16)).unwrap();
                assert_eq!(again.request.model, "another");
                assert_eq!(again.request.prompt_tokens, parsed.request.prompt_tokens);
            }
        }
    }
    assert!(accepted > ROUNDS as usize / 10, "too few mutations are accepted: {accepted}");
}

#[test]
fn split_of_mutated_responses_makes_no_difference() {
    let corpus = corpus("response");
    assert!(corpus.len() >= 10);
    let (mut rng, mut reported, mut generated, mut failed) = (SmallRng::seed_from_u64(2), 0, 0, 0);
    for _ in 0..ROUNDS {
        let response = mutated(&mut rng, &corpus);
        let splits = splits(&mut rng, response.len());
        for api in APIS {
            for format in FORMATS {
                let whole = read_shown(api, format, &response, &[]);
                reported += usize::from(whole.usage.is_some());
                generated += usize::from(whole.output.is_some());
                failed += usize::from(whole.error.is_some());
                assert_eq!(
                    read_shown(api, format, &response, &splits),
                    whole,
                    "{api:?} {format:?} {splits:?} {response:?}"
                );
            }
        }
        let target = *choose(&mut rng, &["m", "llama", "a\"b"]);
        for (api, format) in
            [(Api::Chat, ResponseFormat::EventStream), (Api::VertexChat, ResponseFormat::Grpc)]
        {
            let rename = |splits: &[usize]| {
                rename_in_pieces(
                    &response,
                    splits,
                    ModelRenamer::new(api, format, target, "requested").unwrap(),
                )
                .0
            };
            assert_eq!(rename(&splits), rename(&[]), "{api:?} {splits:?} {response:?}");
        }
    }
    for count in [reported, generated, failed] {
        assert!(count > ROUNDS as usize / 10, "too few mutations report something: {count}");
    }
}
