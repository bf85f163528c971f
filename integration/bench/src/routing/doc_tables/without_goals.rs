//! Comparisons that have no goal.

use super::super::comparison::{Cell, FURTHER_MEASURES, GOAL_MEASURES, Measure};
use super::super::goals::SEVERAL_REPLICAS;
use super::{named_ratio, percent, ratio};
use crate::policies::GO_CALIBRATED;
use signalbox_bench_report::{Table, short};

/// Compares the further measures with those of the best other contender, and says where Signalbox's are greater.
pub(super) fn further_times(cells: &[Cell<'_>]) -> String {
    let mut columns = vec!["scene".to_owned(), "load".to_owned(), "replicas".to_owned()];
    for measure in FURTHER_MEASURES {
        let of = |who| format!("{}, {who}", measure.name);
        columns.extend([of("Signalbox"), of("best other"), "Signalbox ÷ best other".to_owned()]);
    }
    let mut table = Table::new(&columns);
    for cell in cells {
        let mut row =
            vec![cell.scene.name.clone(), format!("{} %", cell.load_percent), cell.replicas.to_string()];
        FURTHER_MEASURES.iter().for_each(|measure| row.extend(compared_times(cell, *measure)));
        table.row(&row);
    }
    let losses = FURTHER_MEASURES.map(|measure| losses(cells, measure));
    format!(
        "Milliseconds, without a goal. Compared with the best other contender, Signalbox loses {}.\n\n{}",
        losses.join(", and "),
        table.into_text()
    )
}

/// Returns the times of Signalbox and of the best other contender, and their ratio.
fn compared_times(cell: &Cell<'_>, measure: Measure) -> [String; 3] {
    let (Some(signalbox), Some(best)) = (cell.signalbox(), cell.compared_with_best(measure)) else {
        return Default::default();
    };
    let time = |runs| short((measure.of)(&runs));
    [time(signalbox.mean()), time(best.other.mean()), named_ratio(best)]
}

/// Says in how many cells, in which scenes, and by how much the best other contender is better.
fn losses(cells: &[Cell<'_>], measure: Measure) -> String {
    let mut scenes: Vec<(&str, usize)> = Vec::new();
    let mut greatest_ratio = 1.0;
    for cell in cells {
        let ratio = cell.compared_with_best(measure).map_or(1.0, |compared| compared.ratio.mean);
        if ratio <= 1.0 {
            continue;
        }
        greatest_ratio = f64::max(greatest_ratio, ratio);
        match scenes.iter_mut().find(|(name, _)| *name == cell.scene.name) {
            Some((_, count)) => *count += 1,
            None => scenes.push((&cell.scene.name, 1)),
        }
    }
    if scenes.is_empty() {
        return format!("the {} in no cell", measure.name);
    }
    let lost: usize = scenes.iter().map(|(_, count)| count).sum();
    let scenes: Vec<_> = scenes.iter().map(|(name, count)| format!("{count} of {name}")).collect();
    format!(
        "the {} in {lost} of {} cells ({}), by at most {} %",
        measure.name,
        cells.len(),
        scenes.join(", "),
        percent(greatest_ratio - 1.0)
    )
}

/// Compares Signalbox with several replicas with the calibrated Go configuration with one replica.
pub(super) fn against_one_go_replica(cells: &[Cell<'_>]) -> String {
    let measures = || GOAL_MEASURES.into_iter().chain(FURTHER_MEASURES);
    let columns = ["scene", "load"].into_iter().chain(measures().map(|measure| measure.name));
    let mut table = Table::new(&columns.collect::<Vec<_>>());
    for cell in cells.iter().filter(|cell| cell.replicas == SEVERAL_REPLICAS) {
        let is_single = |other: &&Cell<'_>| {
            let key = |cell: &Cell<'_>| (cell.scene.name.clone(), cell.load_percent);
            other.replicas == 1 && key(other) == key(cell)
        };
        let go = cells.iter().find(is_single).and_then(|single| single.find(GO_CALIBRATED));
        let compared = |measure| go.and_then(|go| cell.compared(go, measure));
        let ratios = measures()
            .map(|measure| compared(measure).map(|compared| ratio(compared.ratio)).unwrap_or_default());
        let begin = [cell.scene.name.clone(), format!("{} %", cell.load_percent)];
        table.row(&begin.into_iter().chain(ratios).collect::<Vec<_>>());
    }
    table.into_text()
}

#[cfg(test)]
mod tests {
    use super::super::super::report::Report;
    use super::super::super::report::tests::report;
    use super::*;
    use crate::policies::SIGNALBOX;

    /// Returns a report in which every time of a contender is the same.
    fn uniform(contenders: &[(&str, [f64; 2])]) -> Report {
        let mut report = report([10.0; 2], contenders);
        for run in report.results.iter_mut().flat_map(|result| &mut result.runs) {
            (run.ttft_p90_ms, run.ttft_p99_ms, run.e2e_mean_ms) =
                (run.ttft_mean_ms, run.ttft_mean_ms, run.ttft_mean_ms);
        }
        report
    }

    #[test]
    fn cells_that_another_contender_wins_are_counted() {
        let mut report = uniform(&[(SIGNALBOX, [110.0; 2]), ("random", [100.0; 2]), ("smg", [120.0; 2])]);
        report.results[0].runs.iter_mut().for_each(|run| run.e2e_mean_ms = 90.0);
        let text = further_times(&report.cells());
        let expected = "Signalbox loses the TTFT p99 in 1 of 1 cells (1 of shared-prefix), by at most 10.0 %, \
                        and the mean time to the last token in no cell.";
        assert!(text.contains(expected), "{text}");
        let row = "| shared-prefix | 70 % | 4 | 110 | 100 | 1.100 ± 0.000 (random) \
                   | 90.0 | 100 | 0.900 ± 0.000 (random) |";
        assert_eq!(Some(row), text.lines().last());
    }

    #[test]
    fn several_replicas_are_compared_with_one_of_go() {
        let mut report = uniform(&[(SIGNALBOX, [90.0; 2]), (GO_CALIBRATED, [300.0; 2])]);
        let mut single = uniform(&[(SIGNALBOX, [80.0; 2]), (GO_CALIBRATED, [100.0; 2])]);
        single.results.iter_mut().for_each(|result| result.replicas = 1);
        report.results.append(&mut single.results);
        let text = against_one_go_replica(&report.cells());
        let row = format!("| shared-prefix | 70 % |{}", " 0.900 ± 0.000 |".repeat(4));
        assert_eq!(Some(row.as_str()), text.lines().last());
    }
}
