//! Takes most scalers out of the source of KEDA.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

/// The folder with one file per scaler, and the files that stay.
const SCALERS: &str = "pkg/scalers";
const KEPT_FILES: [&str; 2] = ["scaler.go", "external_scaler.go"];

/// The file with the switch over all scalers, and the triggers whose cases stay.
const BUILDER: &str = "pkg/scaling/scalers_builder.go";
const KEPT_TRIGGERS: [&str; 2] = ["external", "external-push"];

/// A constant that the file of another scaler defines for all.
const CONSTANT: (&str, &str) =
    ("external_metric_type.go", "package scalers\n\nconst externalMetricType = \"External\"\n");

/// The beginning of the switch, of a case, and of the case that stays last.
const SWITCH: &str = "\tswitch triggerType {\n";
const CASE: &str = "\tcase \"";
const DEFAULT: &str = "\tdefault:\n";

/// Removes all scalers but the external ones.
pub(super) fn cut(source: &Path) -> anyhow::Result<()> {
    let scalers = source.join(SCALERS);
    let mut removed = 0;
    for entry in fs::read_dir(&scalers).with_context(|| format!("cannot list {}", scalers.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_file() && !KEPT_FILES.contains(&name.as_str()) {
            fs::remove_file(&path)?;
            removed += 1;
        }
    }
    ensure!(removed > KEPT_FILES.len(), "{} has no other scalers", scalers.display());
    fs::write(scalers.join(CONSTANT.0), CONSTANT.1)?;
    let builder = source.join(BUILDER);
    let text = fs::read_to_string(&builder).with_context(|| format!("cannot read {}", builder.display()))?;
    let text = cut_switch(&text).with_context(|| format!("{} has another form", builder.display()))?;
    Ok(fs::write(&builder, text)?)
}

/// Returns a Go source without the other cases of the switch.
fn cut_switch(source: &str) -> Option<String> {
    let (before, cases) = source.split_once(SWITCH)?;
    let (cases, after) = cases.split_once(DEFAULT)?;
    let is_kept =
        |case: &&str| KEPT_TRIGGERS.iter().any(|trigger| case.starts_with(&format!("{trigger}\":")));
    let kept: Vec<&str> = cases.split(CASE).filter(is_kept).collect();
    let kept = kept.iter().map(|case| format!("{CASE}{case}")).collect::<String>();
    (kept.matches(CASE).count() == KEPT_TRIGGERS.len())
        .then(|| format!("{before}{SWITCH}{kept}{DEFAULT}{after}"))
}

#[cfg(test)]
mod tests {
    use super::cut_switch;

    #[test]
    fn other_cases_are_cut() {
        let source = "a\n\tswitch triggerType {\n\tcase \"cron\":\n\t\treturn c\n\tcase \"external\":\n\t\treturn e\n\
                      \tcase \"external-mock\":\n\t\treturn m\n\tcase \"external-push\":\n\t\treturn p\n\tdefault:\n\t\tz\n";
        let cut = "a\n\tswitch triggerType {\n\tcase \"external\":\n\t\treturn e\n\
                   \tcase \"external-push\":\n\t\treturn p\n\tdefault:\n\t\tz\n";
        assert_eq!(Some(cut.to_owned()), cut_switch(source));
        assert_eq!(None, cut_switch("switch {}"));
        assert_eq!(None, cut_switch("\tswitch triggerType {\n\tcase \"cron\":\n\tdefault:\n"));
    }
}
