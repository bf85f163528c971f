//! Tables in Markdown.

use std::fmt::Write;

/// A table in Markdown.
pub struct Table {
    text: String,
}

impl Table {
    /// Begins a table with these columns.
    pub fn new<T: AsRef<str>>(columns: &[T]) -> Self {
        let mut table = Self { text: String::new() };
        table.row(columns);
        let _ = writeln!(table.text, "|{}", "---|".repeat(columns.len()));
        table
    }

    /// Adds a row.
    pub fn row<T: AsRef<str>>(&mut self, cells: &[T]) {
        self.text.push('|');
        for cell in cells {
            let _ = write!(self.text, " {} |", cell.as_ref());
        }
        self.text.push('\n');
    }

    /// Returns the text, which ends with a line break.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// Returns a value with one decimal below 100, else whole with a separator between thousands.
pub fn short(value: f64) -> String {
    if value < 99.95 { format!("{value:.1}") } else { thousands(value.round() as u64) }
}

/// Returns a number with a separator between thousands.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats values, and marks the least one bold. Values that look the same as the least are bold as well.
pub fn bold_least(values: &[Option<f64>], format: fn(f64) -> String) -> Vec<String> {
    let least = values.iter().flatten().copied().min_by(f64::total_cmp).map(format);
    let cell = |value: &Option<f64>| {
        let text = value.map(format).unwrap_or_default();
        if Some(&text) == least.as_ref() { format!("**{text}**") } else { text }
    };
    values.iter().map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_a_line_per_row() {
        let mut table = Table::new(&["a", "b"]);
        table.row(&["1", "2"]);
        assert_eq!("| a | b |\n|---|---|\n| 1 | 2 |\n", table.into_text());
    }

    #[test]
    fn thousands_are_separated() {
        let texts = [0, 999, 1_000, 1_234_567].map(thousands);
        assert_eq!(["0", "999", "1,000", "1,234,567"].map(str::to_owned), texts);
        assert_eq!(["12.3", "100", "1,235"].map(str::to_owned), [12.34, 99.96, 1_234.5].map(short));
    }

    #[test]
    fn least_value_is_bold_and_so_are_those_that_look_like_it() {
        let cells = bold_least(&[Some(5.04), None, Some(5.01), Some(7.0)], |value| format!("{value:.1}"));
        assert_eq!(["**5.0**", "", "**5.0**", "7.0"].map(str::to_owned), cells[..]);
    }
}
