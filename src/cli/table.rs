//! Tables of text: columns as wide as their widest cell, two spaces between them, nothing after the last.

/// Lays out rows under a head. A cell of control characters cannot move the others: they are shown as `?`.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(&head).chain(rows).map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let width = |column: usize| lines.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in &lines {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn plain(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_have_no_trailing_space() {
        let rows = [vec!["api-1".to_owned(), "Ready".to_owned()], vec!["w".to_owned(), String::new()]];
        assert_eq!(table(&["ID", "STATE"], &rows), "ID     STATE\napi-1  Ready\nw\n");
    }

    #[test]
    fn a_cell_cannot_bring_control_characters_or_lines() {
        assert_eq!(table(&["A"], &[vec!["x\u{1b}[2J\ny".to_owned()]]), "A\nx?[2J?y\n");
    }
}
