//! Figures in columns, and what repeated runs say.

use std::fmt::Write as _;

/// Columns of text, right-aligned but for the first.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with its heading.
    pub fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|&cell| cell.into()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as text, a line per row.
    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell: &String| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                // Writing into a String has no way to fail.
                let _ = match column {
                    0 => write!(line, "{cell:<w$}", w = widths[0]),
                    _ => write!(line, "  {cell:>w$}", w = widths[column]),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Smallest and middle of some figures; zeros when there are none.
pub fn min_and_median(figures: &mut [f64]) -> (f64, f64) {
    figures.sort_by(f64::total_cmp);
    match figures {
        [] => (0.0, 0.0),
        [first, ..] => (*first, figures[figures.len() / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["what", "n"]);
        table.row(vec!["a".into(), "100".into()]);
        assert_eq!(table.text(), "what    n\na     100\n");
    }

    #[test]
    fn the_middle_of_three() {
        assert_eq!(min_and_median(&mut [3.0, 1.0, 2.0]), (1.0, 2.0));
        assert_eq!(min_and_median(&mut []), (0.0, 0.0));
    }
}
