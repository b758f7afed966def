//! Comma-separated values (RFC 4180).

use super::table::{Column, clean};

/// All columns of `items`, after a line of their titles in lower case.
pub(super) fn render<T>(items: &[T], columns: &[Column<T>]) -> String {
    let titles = columns.iter().map(|column| field(&column.title.to_lowercase())).collect::<Vec<_>>().join(",");
    let rows = items.iter().map(|item| {
        columns.iter().map(|column| field(&clean(&(column.cell)(item).text))).collect::<Vec<_>>().join(",")
    });
    std::iter::once(titles).chain(rows).map(|row| row + "\r\n").collect()
}

fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_only_where_they_are_needed() {
        let columns: [Column<&str>; 2] = [
            Column { title: "NAME", wide: false, cell: |row| (*row).into() },
            Column { title: "LENGTH", wide: true, cell: |row| row.len().to_string().into() },
        ];
        let text = render(&["a", "b,c", "d\"e"], &columns);
        assert_eq!(text, "name,length\r\na,1\r\n\"b,c\",3\r\n\"d\"\"e\",3\r\n");
    }
}
