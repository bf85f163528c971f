//! The profiles' data, and the table of them in `docs/MODELSIM.md`.

use std::fmt::Write;

use super::{ALL, DEFAULT, Profile};
use crate::config::PodConfig;
use crate::engine::ModelConfig;
use crate::tokenizer::TokenizerConfig;

const DOCUMENT: &str = include_str!("../../../../docs/MODELSIM.md");

#[test]
fn profiles_are_valid_and_have_sources() {
    for profile in ALL {
        let Profile { model, tokenizer, .. } = profile;
        let pod = PodConfig { model: model.clone(), tokenizer: *tokenizer, ..PodConfig::default() };
        assert_eq!(pod.validate(), Ok(()), "{}", profile.name);
        assert!(!profile.sources.is_empty(), "{}", profile.name);
    }
    let default = (&DEFAULT.model, &DEFAULT.tokenizer);
    assert_eq!(default, (&ModelConfig::default(), &TokenizerConfig::default()));
}

#[test]
fn passes_take_the_times_of_the_shapes() {
    for profile in ALL {
        for shape in profile.shapes {
            let took_us = profile.model.pass_duration_us(&shape.work);
            let (least, most) = shape.between_us;
            assert!((least..=most).contains(&took_us), "{}: {shape:?} took {took_us}", profile.name);
        }
    }
}

#[test]
fn document_has_the_table_and_the_sources_of_all_profiles() {
    let expected = format!("{}\n{}", table(), sources());
    assert!(DOCUMENT.contains(&expected), "docs/MODELSIM.md must contain:\n{expected}");
}

fn table() -> String {
    let mut table = String::from("| |");
    ALL.iter().for_each(|profile| write!(table, " `{}` |", profile.name).unwrap());
    table += "\n|---|";
    ALL.iter().for_each(|_| table += "---:|");
    table += "\n";
    for (label, value) in ROWS {
        write!(table, "| {label} |").unwrap();
        ALL.iter().for_each(|profile| write!(table, " {} |", value(profile)).unwrap());
        table += "\n";
    }
    table
}

type Row = (&'static str, fn(&Profile) -> String);

const ROWS: [Row; 16] = [
    ("KV cache (tokens)", |profile| grouped(profile.model.kv_capacity_tokens)),
    ("tokens a pass", |profile| grouped(profile.model.pass_budget_tokens.into())),
    ("running requests", |profile| grouped(profile.model.max_running.into())),
    ("pass: fixed (ms)", |profile| milliseconds(profile.model.pass_base_us)),
    ("pass: reading the weights (ms)", |profile| milliseconds(profile.model.pass_weights_us)),
    ("pass: per decoding request (µs)", |profile| grouped(profile.model.pass_per_decoding_us)),
    ("prefill (tokens/s)", |profile| grouped(profile.model.prefill_tokens_per_second.into())),
    ("attention of prefill (ns per pair of tokens)", |profile| {
        milliseconds(profile.model.prefill_attention_ps)
    }),
    ("attention of decoding (ns per token of context)", |profile| {
        milliseconds(profile.model.decode_attention_ps)
    }),
    ("LoRA slots", |profile| profile.model.max_loras.to_string()),
    ("LoRA load from disk (ms)", |profile| milliseconds(profile.model.lora_disk_load_us)),
    ("LoRA load from host memory (ms)", |profile| milliseconds(profile.model.lora_host_load_us)),
    ("bytes per token", |profile| milliseconds(profile.tokenizer.token_millibytes.into())),
    ("± of a prompt (%)", |profile| profile.tokenizer.prompt_spread_percent.to_string()),
    ("± of a token (%)", |profile| profile.tokenizer.token_spread_percent.to_string()),
    ("chat template (tokens at the start + per message)", |profile| {
        format!("{} + {}", profile.tokenizer.chat_start_tokens, profile.tokenizer.chat_message_tokens)
    }),
];

/// Formats thousandths.
fn milliseconds(thousandths: u64) -> String {
    let text = format!("{}.{:03}", grouped(thousandths / 1_000), thousandths % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn sources() -> String {
    let mut text = String::new();
    for profile in ALL {
        writeln!(text, "**`{}`**: {}.\n", profile.name, profile.summary).unwrap();
        for source in profile.sources {
            writeln!(text, "- {} ({:?}): {}.", source.figures, source.basis, source.text).unwrap();
        }
        for shape in profile.shapes {
            let (least, most) = shape.between_us;
            let (least, most) = (milliseconds(least), milliseconds(most));
            writeln!(text, "- must take {least} to {most} ms ({:?}): {}.", shape.basis, shape.text).unwrap();
        }
        writeln!(text).unwrap();
    }
    text
}
