//! Metrics pages in the Prometheus text format.
//!
//! A page has thousands of lines of which about ten matter, and it is read many times a second for each model server.
//! So a page is walked once; a line whose name is not in the engine's table is passed over at the first byte that differs.

mod page;
mod sglang;
mod table;
mod tally;
mod tensorrt_llm;
mod tgi;
mod triton;
mod vllm;

use signalbox_types::{Engine, Sample};

use self::page::Line;
use self::table::{Family, Role};
use self::tally::Tally;

/// Why a page could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Nothing in it is a line of metrics, e.g. an HTML page.
    #[error("this is no metrics page")]
    NotMetrics,
    /// It is a metrics page without what every reading needs.
    #[error("the page of engine \"{engine}\" has no value of {}", .families.join(" and "))]
    Missing {
        /// The engine that the page was read as.
        engine: Engine,
        /// The names that were looked for.
        families: Vec<&'static str>,
    },
    /// A line of a family that matters cannot be read.
    #[error("line {number} of the page, of {family}, cannot be read")]
    Malformed {
        /// The family's name.
        family: &'static str,
        /// The line's number, the first being 1.
        number: usize,
    },
}

/// Reads the metrics page of a model server of this engine.
///
/// Several series of a family are several engines behind one address: requests and capacities are summed, KV use is averaged.
/// A value that is not finite counts as not told. Timestamps are passed over, since a page of gauges holds one moment.
///
/// # Errors
/// See [`PageError`]. Waiting and running requests must be told, of Triton the waiting ones; all else is optional, and unknown where it is
/// not told.
pub fn read(engine: Engine, page: &[u8]) -> Result<Sample, PageError> {
    let families = families(engine);
    let mut tally = Tally::default();
    for (index, line) in page::lines(page).enumerate() {
        let Some((family, rest)) = families.iter().find_map(|family| Some((family, family.rest(line)?)))
        else {
            continue;
        };
        let series =
            Line::parse(rest).ok_or(PageError::Malformed { family: family.name, number: index + 1 })?;
        let of_that_name = families.iter().filter(|other| other.name == family.name);
        of_that_name
            .filter(|family| family.means(series.labels))
            .for_each(|family| tally.add(family.role, series));
    }
    tally.finish(needed(engine)).map_err(|missing| {
        if !page::looks_like_metrics(page) {
            return PageError::NotMetrics;
        }
        let wanted = families.iter().filter(|family| missing.contains(&family.role));
        PageError::Missing { engine, families: wanted.map(|family| family.name).collect() }
    })
}

/// Without these a reading is none.
fn needed(engine: Engine) -> &'static [Role] {
    match engine {
        // It counts what runs, but only as a number that grows.
        Engine::Triton => &[Role::Waiting],
        _ => &[Role::Waiting, Role::Running],
    }
}

fn families(engine: Engine) -> &'static [Family] {
    match engine {
        Engine::Vllm => vllm::FAMILIES,
        Engine::Sglang => sglang::FAMILIES,
        Engine::TrtLlm => tensorrt_llm::FAMILIES,
        Engine::TritonTrtLlm => triton::TENSORRT_LLM_FAMILIES,
        Engine::Triton => triton::FAMILIES,
        Engine::Tgi => tgi::FAMILIES,
    }
}
