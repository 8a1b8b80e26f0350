//! Rows of a tool's own database: which are wanted, and what stands in them.

/// A table of which rows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The columns that are wanted, in the order in which a row gives them.
    pub columns: &'static [&'static str],
}

/// What stands in one column of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Nothing that is of use: no value, no such column, a fraction, bytes, or a text that is too long.
    Nothing,
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}

/// The wanted columns of one row.
pub type Row = Vec<Cell>;

impl Cell {
    /// The text, empty when there is none.
    #[must_use]
    pub fn text(&self) -> &str {
        if let Cell::Text(text) = self { text } else { "" }
    }

    /// The number, if there is one.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        if let Cell::Number(number) = self { Some(*number) } else { None }
    }
}
