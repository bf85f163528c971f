//! Properties of the parser that hold for every page.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::{select, subsequence};
use signalbox_dialect::metrics::parse;
use signalbox_types::{Engine, PPM};

/// Valid and broken pieces of pages, so that random pages get far into the parser.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "vllm:num_requests_waiting",
        "vllm:num_requests_running",
        "vllm:lora_requests_info",
        "vllm:lora_adapter_loaded",
        "vllm:cache_config_info",
        "vllm:engine_sleep_state",
        "vllm:request_success_total",
        "sglang:num_queue_reqs",
        "sglang:num_running_reqs",
        "sglang:num_pages",
        "tgi_queue_size",
        "tgi_request_count",
        "trtllm_num_requests_waiting",
        "nv_trt_llm_request_metrics",
        "nv_inference_pending_request_count",
        "process_start_time_seconds",
        "# TYPE ",
        "max_lora=\"4\"",
        "block_size=\"16\"",
        "dp_rank=\"1\"",
        "adapter_name=\"a\"",
        "level=\"gpu\"",
        "sleep_state=\"awake\"",
        "request_type=\"waiting\"",
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
    (0..1_000u32, 0..1_000u32, 0..=PPM, 1..4u32, "[a-z{}=,\\\\\" ]{0,8}").prop_map(
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

/// Optional series of a vLLM page, one value each.
const OPTIONAL: [&str; 6] = [
    "vllm:kv_cache_usage_perc{engine=\"0\"} 0.5\n",
    "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"10\"} 1\n",
    "vllm:lora_requests_info{max_lora=\"2\",running_lora_adapters=\"a\"} 7\n",
    "vllm:lora_adapter_loaded{adapter_name=\"a\",level=\"gpu\"} 1\n",
    "vllm:engine_sleep_state{sleep_state=\"awake\"} 0\n",
    "process_start_time_seconds 1.5\n",
];

proptest! {
    #[test]
    fn a_value_is_known_exactly_if_the_page_has_it(present in subsequence((0..6).collect::<Vec<_>>(), 0..=6)) {
        let load = "vllm:num_requests_waiting 1\nvllm:num_requests_running 2\n";
        let page: String = present.iter().map(|at| OPTIONAL[*at]).chain([load]).collect();
        let sample = parse(&Engine::Vllm, page.as_bytes()).unwrap();
        let has = |at: usize| present.contains(&at);
        prop_assert_eq!(sample.gauges.kv_used_ppm.is_some(), has(0));
        prop_assert_eq!(sample.capacity.is_some(), has(1));
        prop_assert_eq!(sample.adapters.is_some(), has(2));
        let loaded = sample.adapters.is_some_and(|adapters| adapters.loaded.is_some());
        prop_assert_eq!(loaded, has(2) && has(3));
        prop_assert_eq!(sample.is_asleep, has(4));
        prop_assert_eq!(sample.incarnation.0 != 0, has(5));
        prop_assert_eq!(sample.counters, None);
    }

    #[test]
    fn ranks_of_a_group_count_once_and_groups_add_up(
        groups in vec((0..100u32, 0..100u32, 0..=PPM), 1..4), ranks in 1..4usize,
    ) {
        let mut page = String::new();
        for (group, (waiting, running, kv_ppm)) in groups.iter().enumerate() {
            for rank in 0..ranks {
                let labels = format!("{{tp_rank=\"{rank}\",pp_rank=\"0\",dp_rank=\"{group}\"}}");
                // A rank may lag behind the others of its group.
                let lag = |value: u32| if rank == 0 { value } else { value / 2 };
                let kv_use = f64::from(lag(*kv_ppm)) / f64::from(PPM);
                page += &format!("sglang:num_queue_reqs{labels} {}\n", lag(*waiting));
                page += &format!("sglang:num_running_reqs{labels} {}\n", lag(*running));
                page += &format!("sglang:token_usage{labels} {kv_use}\n");
                page += &format!("sglang:page_size{labels} 16\nsglang:num_pages{labels} 100\n");
            }
        }
        let sample = parse(&Engine::Sglang, page.as_bytes()).unwrap();
        prop_assert_eq!(sample.gauges.waiting, groups.iter().map(|group| group.0).sum::<u32>());
        prop_assert_eq!(sample.gauges.running, Some(groups.iter().map(|group| group.1).sum::<u32>()));
        let kv_sum: u64 = groups.iter().map(|group| u64::from(group.2)).sum();
        let averaged = u64::from(sample.gauges.kv_used_ppm.unwrap()) * groups.len() as u64;
        prop_assert!(averaged.abs_diff(kv_sum) <= groups.len() as u64);
        prop_assert_eq!(sample.capacity.unwrap().kv_tokens, groups.len() as u64 * 1_600);
    }

    #[test]
    fn parser_never_panics(fragments in vec(fragment(), 0..60), engine in select(&Engine::ALL[..])) {
        let _outcome = parse(&engine, &fragments.concat());
    }

    #[test]
    fn label_order_and_blanks_do_not_matter(ranks in vec(rank(), 1..4)) {
        let plain = parse(&Engine::Vllm, page(&ranks, false).as_bytes()).unwrap();
        prop_assert_eq!(&parse(&Engine::Vllm, page(&ranks, true).as_bytes()).unwrap(), &plain);
        prop_assert_eq!(plain.gauges.waiting, ranks.iter().map(|rank| rank.waiting).sum::<u32>());
        prop_assert_eq!(plain.gauges.running, Some(ranks.iter().map(|rank| rank.running).sum::<u32>()));
        let sizes: BTreeSet<u32> = ranks.iter().map(|rank| rank.blocks).collect();
        let tokens: u64 = sizes.into_iter().map(|blocks| u64::from(blocks) * 16).sum();
        prop_assert_eq!(plain.capacity.unwrap().kv_tokens, tokens);
        let adapters = &plain.adapters.as_ref().unwrap().running;
        prop_assert_eq!(adapters.is_empty(), ranks.last().unwrap().adapter.split(',').all(|n| n.trim().is_empty()));
let kv_sum: u64 = ranks.iter().map(|rank| u64::from(rank.kv_ppm)).sum();
        let averaged = u64::from(plain.gauges.kv_used_ppm.unwrap()) * ranks.len() as u64;
        prop_assert!(averaged.abs_diff(kv_sum) <= ranks.len() as u64);
    }
}
