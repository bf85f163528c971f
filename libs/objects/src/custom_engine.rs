//! Engines whose metrics a user describes, in the form of the Go EPP's `engineConfigs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use signalbox_document::{Fields, Located, Problems, quoted};
use signalbox_types::{CustomEngine, MetricSpec};

/// The fields of an engine.
const FIELDS: [&str; 10] = [
    "name",
    "queuedRequestsSpec",
    "runningRequestsSpec",
    "kvUsageSpec",
    "loraSpec",
    "cacheInfoSpec",
    "cacheBlockSizeLabelName",
    "cacheNumBlocksLabelName",
    "cacheBlockSizeSpec",
    "cacheNumBlocksSpec",
];

/// A name that the Go EPP reserves.
const RESERVED: &str = "default";

/// Reads a list of engines. `others` are further fields that are allowed and have no effect.
pub fn read_custom_engines(
    list: &Located<'_>,
    others: &[&'static str],
    problems: &mut Problems,
) -> Vec<Arc<CustomEngine>> {
    let known = [&FIELDS[..], others].concat();
    let mut names = BTreeSet::new();
    let items = list.items(problems).unwrap_or_default();
    let engines = items.into_iter().filter_map(|item| engine(item, &known, &mut names, problems));
    engines.map(Arc::new).collect()
}

fn engine(
    item: Located<'_>,
    known: &[&'static str],
    names: &mut BTreeSet<String>,
    problems: &mut Problems,
) -> Option<CustomEngine> {
    let whole = item.clone();
    let fields = item.fields(known, problems)?;
    let at = fields.required("name", "NAME", problems)?;
    let name = at.text(problems)?;
    if name.is_empty() || name == RESERVED {
        at.report(problems, format!("{} cannot be the name of an engine; use another", quoted(name)));
    }
    if !names.insert(name.to_owned()) {
        at.report(problems, format!("{} names two engines; keep one", quoted(name)));
    }
    let (waiting, running) =
        (metric(&fields, "queuedRequestsSpec", problems), metric(&fields, "runningRequestsSpec", problems));
    if [&waiting, &running].iter().all(|spec| matches!(spec, Ok(None))) {
        let message =
            "names neither queuedRequestsSpec nor runningRequestsSpec, so no load could be read; name one";
        whole.report(problems, message);
    }
    Some(CustomEngine {
        name: name.to_owned(),
        waiting: waiting.unwrap_or_default(),
        running: running.unwrap_or_default(),
        kv_use: metric(&fields, "kvUsageSpec", problems).unwrap_or_default(),
        adapters: metric(&fields, "loraSpec", problems).unwrap_or_default(),
        cache_info: metric(&fields, "cacheInfoSpec", problems).unwrap_or_default(),
        block_label: label(&fields, "cacheBlockSizeLabelName", "block_size", problems),
        blocks_label: label(&fields, "cacheNumBlocksLabelName", "num_gpu_blocks", problems),
        block_tokens: metric(&fields, "cacheBlockSizeSpec", problems).unwrap_or_default(),
        blocks: metric(&fields, "cacheNumBlocksSpec", problems).unwrap_or_default(),
    })
}

/// Returns the metric that the field `name` names, if it names one. The error is reported.
fn metric(fields: &Fields<'_>, name: &str, problems: &mut Problems) -> Result<Option<MetricSpec>, ()> {
    let Some(at) = fields.non_null(name) else { return Ok(None) };
    match at.text(problems) {
        None => Err(()),
        Some("") => Ok(None),
        Some(text) => at.parse(text, str::parse, problems).map(Some).ok_or(()),
    }
}

fn label(fields: &Fields<'_>, name: &str, default: &str, problems: &mut Problems) -> String {
    let written = fields.non_null(name).and_then(|at| at.text(problems));
    written.filter(|label| !label.is_empty()).unwrap_or(default).to_owned()
}
