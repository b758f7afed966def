//! Tables and descriptions for people.

/// What a cell says beyond its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing.
    Plain,
    /// As it should be.
    Good,
    /// Somebody should look.
    Caution,
    /// Wrong.
    Bad,
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }
}

/// One column.
pub(crate) struct Column<T> {
    pub(crate) title: &'static str,
    /// Whether only `wide` shows it.
    pub(crate) wide: bool,
    pub(crate) cell: fn(&T) -> Cell,
}

/// Blanks between two columns.
const GAP: usize = 2;

/// `items` as a table with a line of titles; a word in place of an empty one.
pub(crate) fn render<T>(items: &[T], columns: &[Column<T>], wide: bool, colour: bool) -> String {
    let columns: Vec<&Column<T>> = columns.iter().filter(|column| wide || !column.wide).collect();
    let rows: Vec<Vec<Cell>> =
        items.iter().map(|item| columns.iter().map(|c| tidy((c.cell)(item))).collect()).collect();
    let width = |index: usize, title: &str| {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.text.chars().count());
        cells.chain([title.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = columns.iter().enumerate().map(|(index, column)| width(index, column.title)).collect();
    let titles: Vec<Cell> = columns.iter().map(|column| column.title.into()).collect();
    std::iter::once(&titles).chain(&rows).map(|row| line(row, &widths, colour)).collect()
}

/// One line, without blanks at its end.
fn line(cells: &[Cell], widths: &[usize], colour: bool) -> String {
    let mut line = String::new();
    let mut pending = 0;
    for (cell, width) in cells.iter().zip(widths) {
        line.push_str(&" ".repeat(pending));
        line.push_str(&painted(cell, colour));
        pending = width.saturating_sub(cell.text.chars().count()) + GAP;
    }
    line.push('\n');
    line
}

fn painted(cell: &Cell, colour: bool) -> String {
    let code = match cell.tone {
        Tone::Good => "32",
        Tone::Caution => "33",
        Tone::Bad => "31",
        Tone::Plain => return cell.text.clone(),
    };
    if colour { format!("\x1b[{code}m{}\x1b[0m", cell.text) } else { cell.text.clone() }
}

/// An empty cell would make a row hard to follow.
fn tidy(cell: Cell) -> Cell {
    let text = clean(&cell.text).replace('\n', " ");
    Cell { text: if text.is_empty() { "-".to_owned() } else { text }, ..cell }
}

/// Labels and texts, one below the other.
pub(crate) fn description(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    let pad = |label: &str| " ".repeat(width.saturating_sub(label.chars().count()) + GAP);
    lines
        .iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(label, text)| format!("{label}{}{}\n", pad(label), clean(text).replace('\n', " ")))
        .collect()
}

/// The text without control characters but line ends: names of hardware come from machines that nobody trusts yet,
/// and must not steer the terminal.
pub(crate) fn clean(text: &str) -> String {
    // Beside the control characters proper those that reorder what follows (Unicode Technical Report 36, 2.5).
    let steers =
        |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column<(&'static str, &'static str)>> {
        vec![
            Column { title: "NAME", wide: false, cell: |row| row.0.into() },
            Column { title: "STATE", wide: false, cell: |row| Cell { text: row.1.to_owned(), tone: Tone::Good } },
            Column { title: "LENGTH", wide: true, cell: |row| row.0.len().to_string().into() },
        ]
    }

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let rows = [("node-1", "Ready"), ("a", "")];
        assert_eq!(render(&rows, &columns(), false, false), "NAME    STATE\nnode-1  Ready\na       -\n");
        assert_eq!(render(&rows[..1], &columns(), true, false), "NAME    STATE  LENGTH\nnode-1  Ready  6\n");
    }

    #[test]
    fn colour_changes_no_width() {
        let plain = render(&[("node-1", "Ready"), ("b", "x")], &columns(), true, false);
        let painted = render(&[("node-1", "Ready"), ("b", "x")], &columns(), true, true);
        assert_eq!(painted.replace("\x1b[32m", "").replace("\x1b[0m", ""), plain);
        assert_ne!(painted, plain);
    }

    #[test]
    fn a_machine_cannot_steer_the_terminal() {
        let rows = [("\x1b[2Jevil\u{202e}", "a\nb")];
        let text = render(&rows, &columns(), false, false);
        assert!(!text.contains('\x1b') && !text.contains('\u{202e}') && text.lines().count() == 2, "{text:?}");
        assert!(!description(&[("Vendor", "\x1b]0;x\x07".to_owned())]).contains('\x1b'));
    }
}
