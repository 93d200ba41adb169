//! Tables of Markdown.
//!
//! Must not know what they show.

/// The note at the head of each page.
pub(crate) const NOTE: &str = "Written from the code by `UPDATE_REFERENCE=1 cargo test --test reference`; \
                               a test fails where the two differ.\n";

/// A table; `|` and line breaks in cells are escaped.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        assert_eq!(row.len(), head.len(), "{row:?}");
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ").replace("  ", " ")));
    }
    text
}

/// `text` as code; nothing stays nothing.
pub(crate) fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}
