//! Properties of the parser that hold for every page.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use signalbox_dialect::metrics::parse;
use signalbox_types::{Engine, PPM};

/// Valid and broken pieces of pages, so that random pages get far into the parser.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "vllm:num_requests_waiting",
        "vllm:num_requests_running",
        "vllm:lora_requests_info",
        "vllm:cache_config_info",
        "sglang:num_queue_reqs",
        "process_start_time_seconds",
        "max_lora=\"4\"",
        "block_size=\"16\"",
        "{",
        "}",
        "\"",
        "\\",
        ",",
        "=",
        " ",
        "\t",
        "\n",
        "\r\n",
        "#",
        "NaN",
        "-Inf",
        "1e308",
        "0x",
        "\u{e9}",
    ];
    let known = (0..known.len()).prop_map(move |index| known[index].as_bytes().to_vec());
    prop_oneof![8 => known, 1 => vec(any::<u8>(), 0..8)]
}

/// One engine's values on a page.
#[derive(Clone, Debug)]
struct Rank {
    waiting: u32,
    running: u32,
    kv_ppm: u32,
    blocks: u32,
    adapter: String,
}

fn rank() -> impl Strategy<Value = Rank> {
    (0..1_000u32, 0..1_000u32, 0..=PPM, 1..100_000u32, "[a-z{}=,\\\\\" ]{0,8}").prop_map(
        |(waiting, running, kv_ppm, blocks, adapter)| Rank { waiting, running, kv_ppm, blocks, adapter },
    )
}

/// A family's name, labels and value.
type Line = (&'static str, Vec<(&'static str, String)>, String);

fn lines(rank: &Rank, number: usize) -> Vec<Line> {
    let engine = ("engine", number.to_string());
    let series = |name, value: String| (name, vec![engine.clone(), ("model_name", "a b".to_owned())], value);
    let config =
        vec![engine.clone(), ("block_size", "16".to_owned()), ("num_gpu_blocks", rank.blocks.to_string())];
    let lora = vec![
        ("max_lora", "4".to_owned()),
        ("running_lora_adapters", rank.adapter.replace('\\', "\\\\").replace('"', "\\\"")),
        ("waiting_lora_adapters", String::new()),
    ];
    vec![
        series("vllm:num_requests_waiting", rank.waiting.to_string()),
        series("vllm:num_requests_running", format!("{:e}", f64::from(rank.running))),
        series("vllm:kv_cache_usage_perc", (f64::from(rank.kv_ppm) / f64::from(PPM)).to_string()),
        ("vllm:cache_config_info", config, "1.0".to_owned()),
        ("vllm:lora_requests_info", lora, (1_700_000_000 + number).to_string()),
    ]
}

/// Writes a page. With `unusual`, it reverses labels, adds blanks wherever they are allowed, and adds
/// irrelevant lines.
fn page(ranks: &[Rank], unusual: bool) -> String {
    let mut page = String::new();
    for (name, mut labels, value) in ranks.iter().enumerate().flat_map(|(number, rank)| lines(rank, number)) {
        let (blank, end) =
            if unusual { ("\t ", " 1700000000000\r\n# vllm:num_requests_waiting 7\n\n") } else { ("", "\n") };
        if unusual {
            labels.reverse();
        }
        let labels: Vec<_> = labels
            .iter()
            .map(|(label, text)| format!("{blank}{label}{blank}={blank}\"{text}\"{blank}"))
            .collect();
        page += &format!(
            "{blank}{name}{blank}{{{}{}}} {value}{end}",
            labels.join(","),
            if unusual { "," } else { "" }
        );
    }
    page
}

proptest! {
    #[test]
    fn parser_never_panics(fragments in vec(fragment(), 0..60), engine in prop_oneof![Just(Engine::Vllm), Just(Engine::Sglang)]) {
        let _outcome = parse(engine, &fragments.concat());
    }

    #[test]
    fn label_order_and_blanks_do_not_matter(ranks in vec(rank(), 1..4)) {
        let plain = parse(Engine::Vllm, page(&ranks, false).as_bytes()).unwrap();
        prop_assert_eq!(&parse(Engine::Vllm, page(&ranks, true).as_bytes()).unwrap(), &plain);
        prop_assert_eq!(plain.gauges.waiting, ranks.iter().map(|rank| rank.waiting).sum::<u32>());
        prop_assert_eq!(plain.gauges.running, ranks.iter().map(|rank| rank.running).sum::<u32>());
        let tokens: u64 = ranks.iter().map(|rank| u64::from(rank.blocks) * 16).sum();
        prop_assert_eq!(plain.capacity.unwrap().kv_tokens, tokens);
        let adapters = plain.adapters.unwrap().running;
        prop_assert_eq!(adapters.is_empty(), ranks.last().unwrap().adapter.split(',').all(|n| n.trim().is_empty()));
let kv_sum: u64 = ranks.iter().map(|rank| u64::from(rank.kv_ppm)).sum();
        let averaged = u64::from(plain.gauges.kv_used_ppm.unwrap()) * ranks.len() as u64;
        prop_assert!(averaged.abs_diff(kv_sum) <= ranks.len() as u64);
    }
}
