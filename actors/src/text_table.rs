//! Tables of text for a terminal: every column is as wide as its widest cell.
//!
//! Must not know what the cells mean, or whether they may be trusted.

use std::borrow::Cow;

/// A column: its heading, and whether its cells are aligned at the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    head: Cow<'static, str>,
    right: bool,
}

/// Between two columns.
const GAP: &str = "  ";

/// A column of text.
pub fn left(head: impl Into<Cow<'static, str>>) -> Column {
    Column { head: head.into(), right: false }
}

/// A column of numbers.
pub fn right(head: impl Into<Cow<'static, str>>) -> Column {
    Column { head: head.into(), right: true }
}

/// The table, a line for its headings and one for each row, without blanks at the end. A row with too few cells ends
/// early; cells without a column are left out.
pub fn table<R: AsRef<[String]>>(columns: &[Column], rows: &[R]) -> String {
    let width = |(i, column): (usize, &Column)| {
        let cells = rows.iter().filter_map(|row| row.as_ref().get(i)).map(|cell| cell.chars().count());
        cells.chain([column.head.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = columns.iter().enumerate().map(width).collect();
    let heads: Vec<String> = columns.iter().map(|column| column.head.clone().into_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(heads.as_slice()).chain(rows.iter().map(AsRef::as_ref)) {
        let cells = row.iter().zip(columns).zip(&widths).map(|((cell, column), &width)| match column.right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join(GAP).trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows =
            [["a".to_owned(), "1000".to_owned(), "x".to_owned()], ["föö".to_owned(), "2".to_owned(), String::new()]];
        let shown = table(&[left("NAME"), right("N"), left("")], &rows);
        assert_eq!(shown, "NAME     N\na     1000  x\nföö      2\n");
        assert_eq!(table::<[String; 0]>(&[left("NAME")], &[]), "NAME\n");
    }

    #[test]
    fn rows_of_another_length_are_cut() {
        let rows = [vec![], vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]];
        assert_eq!(table(&[left("X"), left("Y")], &rows), "X  Y\n\na  b\n");
    }
}
