//! What is printed.

use std::fmt::Write;

/// Whether a goal is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is.
    Met,
    /// It is not.
    Missed,
    /// There is none.
    Told,
}

impl Verdict {
    /// Of a value that must be no larger than its goal.
    pub(crate) fn at_most(value: f64, goal: f64) -> Self {
        if value <= goal { Self::Met } else { Self::Missed }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::Told => "",
        }
    }
}

/// One line of a table.
#[derive(Clone, Debug)]
struct Finding {
    what: String,
    measured: String,
    goal: String,
    verdict: Verdict,
}

/// A table, with what has to be known to read it.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    title: &'static str,
    findings: Vec<Finding>,
    notes: Vec<String>,
}

impl Section {
    /// One without lines.
    pub(crate) fn new(title: &'static str) -> Self {
        Self { title, findings: Vec::new(), notes: Vec::new() }
    }

    /// Adds what was measured and has a goal.
    pub(crate) fn judge(
        &mut self,
        what: impl Into<String>,
        measured: impl Into<String>,
        goal: &str,
        verdict: Verdict,
    ) {
        let (what, measured, goal) = (what.into(), measured.into(), goal.to_owned());
        self.findings.push(Finding { what, measured, goal, verdict });
    }

    /// Adds what was measured without a goal.
    pub(crate) fn tell(&mut self, what: impl Into<String>, measured: impl Into<String>) {
        self.judge(what, measured, "", Verdict::Told);
    }

    /// Adds a sentence below the table.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// As Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n| | measured | goal | |\n|---|---|---|---|\n", self.title);
        for Finding { what, measured, goal, verdict } in &self.findings {
            let verdict = verdict.word();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {what} | {measured} | {goal} | {verdict} |");
        }
        let notes = self.notes.iter().map(|note| format!("\n{note}\n"));
        text.extend(notes);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Section, Verdict};

    #[test]
    fn a_section_is_a_table_with_notes() {
        let mut section = Section::new("Speed");
        section.judge("p99", "3 ms", "≤ 2 ms", Verdict::at_most(3.0, 2.0));
        section.tell("idle", "50 %");
        section.note("Both by one clock.");
        let expected = "### Speed\n\n| | measured | goal | |\n|---|---|---|---|\n\
            | p99 | 3 ms | ≤ 2 ms | MISSED |\n| idle | 50 % |  |  |\n\nBoth by one clock.\n";
        assert_eq!(section.markdown(), expected);
        assert_eq!(Verdict::at_most(2.0, 2.0), Verdict::Met);
    }
}
