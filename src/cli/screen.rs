//! Where results go: text for people, JSON for scripts.

use std::io::Write;

use serde_json::Value;

use super::arguments::OutputFormat;
use super::failure::Failure;

/// The standard output of a command, and how to write on it.
pub(super) struct Screen {
    out: Box<dyn Write>,
    format: OutputFormat,
}

impl Screen {
    /// Results go to `out`.
    pub(super) fn new(out: impl Write + 'static, format: OutputFormat) -> Screen {
        Screen {
            out: Box::new(out),
            format,
        }
    }

    /// Prints a result in the form that was asked for; only that form is made.
    pub(super) fn show(
        &mut self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> Value,
    ) -> Result<(), Failure> {
        match self.format {
            OutputFormat::Table => self.out.write_all(text().as_bytes())?,
            OutputFormat::Json => writeln!(self.out, "{}", json())?,
        }
        Ok(self.out.flush()?)
    }

    /// Writes bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.out.write_all(bytes)?)
    }

    /// Sees to it that everything written is out.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }

    /// Whether results are for scripts.
    pub(super) fn is_json(&self) -> bool {
        self.format == OutputFormat::Json
    }
}

/// Rows under headings, each column as wide as its widest cell.
#[derive(Clone, Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings and no rows.
    pub(super) fn new(headings: &[&str]) -> Table {
        Table {
            rows: vec![headings.iter().map(|heading| heading.to_string()).collect()],
        }
    }

    /// Adds a row; an empty cell is shown as `-`, so that each row has as many words as headings.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let shown = |cell: String| {
            if cell.is_empty() {
                "-".to_string()
            } else {
                cell
            }
        };
        self.rows.push(cells.into_iter().map(shown).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// So many of something: `1 core`, `4 cores`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_no_plural() {
        let check = |count, text| assert_eq!(counted(count, "core"), text);
        check(0, "0 cores");
        check(1, "1 core");
        check(2, "2 cores");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["GROUP", "LAG"]);
        table.row(["readers-of-orders".into(), "5".into()]);
        table.row(["ä".into(), String::new()]);
        let expected = "GROUP              LAG\nreaders-of-orders  5\nä                  -\n";
        assert_eq!(table.to_string(), expected);
    }
}
