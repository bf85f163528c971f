//! Parses metrics pages in the Prometheus text format.
//!
//! A page has thousands of lines of which about ten matter, and every model server's page is parsed many
//! times a second. The parser therefore walks the page once and skips each line at the first byte that
//! differs from all names in the engine's table.

mod adapter_lists;
mod engines;
mod family;
mod likely_mistake;
mod sample_builder;
mod text_format;
mod totals;

use signalbox_types::{Engine, Sample};

use self::engines::Table;
use self::likely_mistake::likely_mistake;
use self::sample_builder::SampleBuilder;
use self::text_format::Series;

/// Why a page cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// No line is a metric, e.g. because the page is HTML.
    #[error("not a metrics page{}", hint(*.0))]
    NotMetrics(
        /// The likely mistake, and how to fix it.
        Option<&'static str>,
    ),
    /// A metrics page without a required value.
    #[error(
        "the metrics page has no value for {}, which engine \"{engine}\" requires{}",
        .families.join(" and "), hint(*.mistake)
    )]
    Missing {
        /// Name of the engine that the page was parsed for.
        engine: String,
        /// Names of the missing families.
        families: Vec<String>,
        /// The likely mistake, and how to fix it.
        mistake: Option<&'static str>,
    },
    /// A line of a family in the engine's table is malformed.
    #[error("line {number} of the metrics page is malformed, in {family}")]
    Malformed {
        /// Name of the family.
        family: String,
        /// Line number, starting at 1.
        number: usize,
    },
}

fn hint(mistake: Option<&'static str>) -> String {
    mistake.map(|mistake| format!("; {mistake}")).unwrap_or_default()
}

/// Parses the metrics page of a model server of kind `engine`.
///
/// Several series of a family belong to several engines behind one address: requests and capacities are
/// summed, KV cache use is averaged. Series that repeat a value count once: SGLang's tensor and pipeline ranks
/// (the greatest value of each `dp_rank` counts), and vLLM's capacity, which each rank reports for all. A
/// value that is not finite counts as missing. Timestamps are ignored, because all gauges of a page describe
/// the same moment.
///
/// SGLang, TGI and TensorRT-LLM report their load only from the first request on. Their page without any load
/// gauge means that nothing waits or runs, provided that it is theirs: it is blank, or it names a metric with
/// the prefix `sglang:`, `tgi_`, `trtllm_` or `nv_trt_llm_`.
///
/// # Errors
/// See [`PageError`]. Otherwise waiting and running requests are required (only waiting ones for Triton).
/// Everything else is optional, and unknown if missing.
pub fn parse(engine: &Engine, page: &[u8]) -> Result<Sample, PageError> {
    let table = Table::of(engine);
    let families = &table.families;
    let mut builder = SampleBuilder::default();
    for (index, line) in text_format::lines(page).enumerate() {
        let Some((family, rest)) =
            families.iter().find_map(|family| Some((family, family.strip_name(line)?)))
        else {
            continue;
        };
        let malformed = || PageError::Malformed { family: family.name.to_owned(), number: index + 1 };
        let series = Series::parse(rest).ok_or_else(malformed)?;
        let same_name = families.iter().filter(|other| other.name == family.name);
        same_name
            .filter(|family| family.matches(series.labels))
            .for_each(|family| builder.add(family, series));
    }
    builder.build(&table, page).map_err(|missing| {
        let mistake = likely_mistake(engine, page);
        if !text_format::looks_like_metrics(page) {
            return PageError::NotMetrics(mistake);
        }
        let wanted = families.iter().filter(|family| missing.contains(&family.role));
        let families = wanted.map(|family| family.name.to_owned()).collect();
        PageError::Missing { engine: engine.name().to_owned(), families, mistake }
    })
}
