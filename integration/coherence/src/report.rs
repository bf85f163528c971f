//! The printed report.

use std::fmt::Write;

/// Whether a goal is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoalStatus {
    /// The goal is met.
    Met,
    /// The goal is missed.
    Missed,
    /// There is no goal.
    NoGoal,
}

impl GoalStatus {
    /// Returns the status of a value that must not exceed its goal.
    pub(crate) fn at_most(value: f64, goal: f64) -> Self {
        if value <= goal { Self::Met } else { Self::Missed }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::NoGoal => "",
        }
    }
}

/// A row of a table.
#[derive(Clone, Debug)]
struct Row {
    name: String,
    measured: String,
    goal: String,
    status: GoalStatus,
}

/// A table with notes.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    title: &'static str,
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Section {
    /// Creates an empty section.
    pub(crate) fn new(title: &'static str) -> Self {
        Self { title, rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a measured value with a goal.
    pub(crate) fn add_with_goal(
        &mut self,
        name: impl Into<String>,
        measured: impl Into<String>,
        goal: &str,
        status: GoalStatus,
    ) {
        let (name, measured, goal) = (name.into(), measured.into(), goal.to_owned());
        self.rows.push(Row { name, measured, goal, status });
    }

    /// Adds a measured value without a goal.
    pub(crate) fn add(&mut self, name: impl Into<String>, measured: impl Into<String>) {
        self.add_with_goal(name, measured, "", GoalStatus::NoGoal);
    }

    /// Adds a note below the table.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Returns the section as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n| | measured | goal | status |\n|---|---|---|---|\n", self.title);
        for Row { name, measured, goal, status } in &self.rows {
            let status = status.word();
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "| {name} | {measured} | {goal} | {status} |");
        }
        let notes = self.notes.iter().map(|note| format!("\n{note}\n"));
        text.extend(notes);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{GoalStatus, Section};

    #[test]
    fn section_is_a_table_with_notes() {
        let mut section = Section::new("Speed");
        section.add_with_goal("p99", "3 ms", "≤ 2 ms", GoalStatus::at_most(3.0, 2.0));
        section.add("idle", "50 %");
        section.note("Both by one clock.");
        let expected = "### Speed\n\n| | measured | goal | status |\n|---|---|---|---|\n\
            | p99 | 3 ms | ≤ 2 ms | MISSED |\n| idle | 50 % |  |  |\n\nBoth by one clock.\n";
        assert_eq!(section.markdown(), expected);
        assert_eq!(GoalStatus::at_most(2.0, 2.0), GoalStatus::Met);
    }
}
