//! A page filled line by line from the top, in plain ASCII.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};

use crate::glyphs;

/// Columns of the labels.
pub(crate) const LABEL_WIDTH: u16 = 14;

/// Text from elsewhere as a terminal may get it: no control characters and nothing beyond ASCII.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// Breaks text at blanks into at most `lines` lines of `width` columns.
pub(crate) fn wrap(text: &str, width: usize, lines: usize) -> Vec<String> {
    let mut wrapped: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match wrapped.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width.saturating_sub(1) => {
                line.push(' ');
                line.push_str(word);
            }
            _ => wrapped.push(format!(" {word}")),
        }
    }
    if wrapped.len() > lines {
        wrapped.truncate(lines);
        if let Some(last) = wrapped.last_mut() {
            let kept: String = last.chars().take(width.saturating_sub(4)).collect();
            *last = format!("{kept} ...");
        }
    }
    wrapped
}

/// What is left of the page, used up from the top.
pub(crate) struct Rows<'a> {
    area: Rect,
    buffer: &'a mut Buffer,
}

impl<'a> Rows<'a> {
    /// `area`, all of it.
    pub(crate) fn new(area: Rect, buffer: &'a mut Buffer) -> Self {
        Self { area, buffer }
    }

    /// Rows that are left.
    pub(crate) fn height(&self) -> u16 {
        self.area.height
    }

    /// Columns.
    pub(crate) fn width(&self) -> u16 {
        self.area.width
    }

    fn take(&mut self, height: u16) -> Rect {
        let height = height.min(self.area.height);
        let taken = Rect { height, ..self.area };
        self.area.y += height;
        self.area.height -= height;
        taken
    }

    pub(crate) fn skip(&mut self) {
        self.take(1);
    }

    pub(crate) fn line(&mut self, text: &str, style: Style) {
        let row = self.take(1);
        if row.height > 0 {
            self.buffer.set_stringn(row.x, row.y, printable(text), usize::from(row.width), style);
        }
    }

    pub(crate) fn fact(&mut self, label: &str, value: &str) {
        self.styled_fact(label, value, Style::new());
    }

    pub(crate) fn styled_fact(&mut self, label: &str, value: &str, style: Style) {
        let row = self.take(1);
        if row.height == 0 {
            return;
        }
        let width = usize::from(row.width);
        self.buffer.set_stringn(row.x, row.y, format!(" {label}"), width, Style::new().fg(Color::Cyan));
        let indent = LABEL_WIDTH.min(row.width);
        let value = printable(value);
        self.buffer.set_stringn(row.x + indent, row.y, value, usize::from(row.width - indent), style);
    }

    /// A fact of as many lines as it needs, at most `lines`.
    pub(crate) fn long_fact(&mut self, label: &str, value: &str, lines: usize, style: Style) {
        let indent = LABEL_WIDTH.min(self.area.width);
        let value = wrap(value, usize::from(self.area.width - indent) + 1, lines);
        for (index, line) in value.iter().enumerate() {
            self.styled_fact(if index == 0 { label } else { "" }, line.trim_start(), style);
        }
    }

    /// The code in big letters, or in small ones where there is no room.
    pub(crate) fn big(&mut self, code: &str) {
        let needed = glyphs::width(code.chars().count());
        if self.area.width <= needed || self.area.height < glyphs::HEIGHT {
            self.fact("Code", code);
            return;
        }
        let row = self.take(glyphs::HEIGHT);
        let indent = LABEL_WIDTH.min(row.width - needed);
        self.buffer.set_stringn(row.x, row.y, " Code", usize::from(row.width), Style::new().fg(Color::Cyan));
        let area = Rect { x: row.x + indent, width: row.width - indent, ..row };
        glyphs::draw(code, area, self.buffer, Style::new().bg(Color::White));
        // In small letters as well: reverse video cannot be copied, nor read aloud by a terminal.
        let beside = indent + needed + 2;
        if row.width > beside {
            let y = row.y + glyphs::HEIGHT / 2;
            self.buffer.set_stringn(row.x + beside, y, code, usize::from(row.width - beside), Style::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_blanks_and_cut_with_dots() {
        assert_eq!(wrap("aa bb cc", 7, 9), [" aa bb", " cc"]);
        assert_eq!(wrap("aa bb cc dd", 8, 1), [" aa  ..."]);
        assert_eq!(wrap("", 80, 2), Vec::<String>::new());
        assert_eq!(wrap("averylongword x", 4, 9), [" averylongword", " x"]);
    }

    #[test]
    fn what_others_say_is_no_command_to_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\r\né"), "a?[2Jb???");
    }
}
