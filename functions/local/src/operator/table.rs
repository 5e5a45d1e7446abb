//! Rows in columns, for people.

/// A table: columns as wide as their widest cell, numbers' columns (named with a leading `>`) to the right.
pub(super) fn table(columns: &[&str], rows: &[Vec<String>]) -> String {
    let heads: Vec<(&str, bool)> =
        columns.iter().map(|head| head.strip_prefix('>').map_or((*head, false), |head| (head, true))).collect();
    let width = |index: usize| {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.chars().count());
        cells.chain(heads.get(index).map(|(head, _)| head.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: &[&str]| {
        let padded = cells.iter().zip(&heads).zip(&widths).map(|((cell, (_, right)), width)| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&heads.iter().map(|(head, _)| *head).collect::<Vec<_>>())];
    lines.extend(rows.iter().map(|row| line(&row.iter().map(String::as_str).collect::<Vec<_>>())));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".to_owned(), "1.50".to_owned()], vec!["größer".to_owned(), "10.00".to_owned()]];
        assert_eq!(table(&["NAME", ">USD"], &rows), "NAME      USD\na        1.50\ngrößer  10.00");
        assert_eq!(table(&["NAME"], &[]), "NAME");
    }
}
