//! The report of the benchmark of prefix indexes.

use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Mean, Provenance, Table, bold_least, read_report, short};

/// The results of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexReport {
    /// The commit and the machine.
    pub provenance: Provenance,
    /// Where the prompts come from.
    pub source: String,
    /// The measured scenes.
    pub scenes: Vec<IndexScene>,
}

/// One scene: the same operations for each index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexScene {
    /// Title of the table.
    pub title: String,
    /// What the operations are.
    pub description: String,
    /// Names of the figures, of which less is always better.
    pub figures: Vec<String>,
    /// The indexes, Signalbox's first.
    pub indexes: Vec<IndexResult>,
}

/// The figures of one index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexResult {
    /// Name and version.
    pub name: String,
    /// Per round, the value of each figure. The rounds of all indexes of a scene alternate.
    pub rounds: Vec<Vec<f64>>,
}

impl IndexReport {
    /// Returns the tables of a file of results.
    ///
    /// # Errors
    /// Fails when the file cannot be read or is no report.
    pub fn doc_tables(path: &Path) -> anyhow::Result<String> {
        Ok(read_report::<Self>(path, "index")?.to_markdown())
    }

    /// Returns the results as tables in Markdown.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("Measured at {}; {}.\n", self.provenance, self.source);
        for scene in &self.scenes {
            let _ = write!(text, "\n### {}\n\n{}\n\n{}", scene.title, scene.description, scene.table());
        }
        text
    }
}

impl IndexScene {
    /// Returns a table with the medians over the rounds, and the first index's figures ÷ the best other's.
    fn table(&self) -> String {
        let columns = std::iter::once("").chain(self.figures.iter().map(String::as_str));
        let mut table = Table::new(&columns.collect::<Vec<_>>());
        let mut columns: Vec<Vec<String>> = Vec::new();
        for at in 0..self.figures.len() {
            let medians = self.indexes.iter().map(|index| Some(index.median(at)));
            columns.push(bold_least(&medians.collect::<Vec<_>>(), short));
        }
        for (row, index) in self.indexes.iter().enumerate() {
            let cells =
                std::iter::once(index.name.clone()).chain(columns.iter().map(|column| column[row].clone()));
            table.row(&cells.collect::<Vec<_>>());
        }
        let ratios = (0..self.figures.len()).map(|at| self.ratio(at).unwrap_or_default());
        table.row(&std::iter::once("Signalbox ÷ best other".to_owned()).chain(ratios).collect::<Vec<_>>());
        table.into_text()
    }

    /// Returns the first index's figure ÷ that of the best other: the mean over the rounds.
    fn ratio(&self, at: usize) -> Option<String> {
        let (first, others) = self.indexes.split_first()?;
        let best = others.iter().min_by(|one, other| one.median(at).total_cmp(&other.median(at)))?;
        let Mean { mean, error } = Mean::of_ratios(&first.values(at), &best.values(at));
        Some(format!("{mean:.2} ± {error:.2}"))
    }
}

impl IndexResult {
    fn values(&self, at: usize) -> Vec<f64> {
        self.rounds.iter().map(|round| round[at]).collect()
    }

    fn median(&self, at: usize) -> f64 {
        median(self.values(at))
    }
}

/// Returns the middle one of `values`, of an even number the mean of the two in the middle; 0 if there are none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.len() / 2;
    let lower = values.len().saturating_sub(1) / 2;
    values.get(lower..=upper).map_or(0.0, |middle| f64::midpoint(middle[0], middle[upper - lower]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(2.0, median(vec![9.0, 1.0, 2.0]));
        assert_eq!(2.5, median(vec![9.0, 3.0, 1.0, 2.0]));
        assert_eq!(0.0, median(Vec::new()));
    }

    #[test]
    fn table_compares_with_the_best_other_of_each_figure() {
        let index = |name: &str, rounds: [[f64; 2]; 2]| IndexResult {
            name: name.to_owned(),
            rounds: rounds.map(|round| round.to_vec()).to_vec(),
        };
        let scene = IndexScene {
            title: String::new(),
            description: String::new(),
            figures: vec!["write ns".to_owned(), "query ns".to_owned()],
            indexes: vec![
                index("signalbox", [[10.0, 30.0], [10.0, 30.0]]),
                index("one", [[20.0, 90.0], [20.0, 90.0]]),
                index("two", [[50.0, 20.0], [50.0, 20.0]]),
            ],
        };
        let expected = "\
            |  | write ns | query ns |\n|---|---|---|\n\
            | signalbox | **10.0** | 30.0 |\n\
            | one | 20.0 | 90.0 |\n\
            | two | 50.0 | **20.0** |\n\
            | Signalbox ÷ best other | 0.50 ± 0.00 | 1.50 ± 0.00 |\n";
        assert_eq!(expected, scene.table());
    }
}
