//! The first page.

mod facts;

use meadow_model::Timestamp;
use meadow_model::console::{SelfEvent, SelfState, SelfView};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use crate::glyphs;

/// Lines that the sentence below the title may take.
const DETAIL_LINES: usize = 2;

/// What the page shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// What the agent said last.
    pub view: Option<SelfView>,
    /// Since when it says nothing, where that is so.
    pub silence: Option<Silence>,
}

/// The agent does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Since when.
    pub since: Timestamp,
    /// What was tried and how it failed.
    pub why: String,
}

/// Draws the page; as much of it as fits, from the top.
pub fn render(page: &Page, area: Rect, buffer: &mut Buffer) {
    let mut rows = Rows { area, buffer };
    title(page, &mut rows);
    for line in wrap(&detail(page), usize::from(area.width), DETAIL_LINES) {
        rows.line(&line, Style::new());
    }
    let Some(view) = &page.view else { return };
    rows.skip();
    for (label, value) in facts::facts(view) {
        rows.fact(label, &value);
    }
    if let Some(code) = code_to_compare(view) {
        rows.skip();
        rows.big(code);
    }
    rows.skip();
    rows.line(" Last events", Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD));
    let room = usize::from(rows.area.height);
    for event in view.events.iter().rev().take(room).rev() {
        rows.line(&event_line(event), Style::new());
    }
}

/// The name, and the state in words and colour.
fn title(page: &Page, rows: &mut Rows<'_>) {
    let (state, colour) = match (&page.silence, &page.view) {
        (Some(_), _) => ("AGENT NOT RUNNING", Color::Red),
        (None, None) => ("STARTING", Color::Blue),
        (None, Some(view)) => state(view.state),
    };
    let name = page.view.as_ref().and_then(|view| view.name.as_ref());
    let version = page.view.as_ref().map_or(String::new(), |view| format!(" {}", view.version));
    let name = name.map_or("(no name yet)", |name| name.as_str());
    let left = format!(" Meadow{version}  {name}");
    let width = usize::from(rows.area.width);
    let gap = width.saturating_sub(printable(&left).chars().count() + state.len() + 1);
    let bar = format!("{left}{}{state} ", " ".repeat(gap));
    rows.line(&bar, Style::new().fg(Color::White).bg(colour).add_modifier(Modifier::BOLD));
}

fn state(state: SelfState) -> (&'static str, Color) {
    match state {
        SelfState::Starting => ("STARTING", Color::Blue),
        SelfState::Unconfigured => ("NO CLUSTER", Color::Magenta),
        SelfState::Enrolling => ("ASKS TO BE LET IN", Color::Blue),
        SelfState::Pending => ("WAITS FOR APPROVAL", Color::Magenta),
        SelfState::Rejected => ("TURNED AWAY", Color::Red),
        SelfState::Ready => ("READY", Color::Green),
        SelfState::Degraded => ("DEGRADED", Color::Red),
    }
}

/// What it waits for, in a sentence or two.
fn detail(page: &Page) -> String {
    match (&page.silence, &page.view) {
        (Some(silence), _) => format!(
            "Agent not running since {} UTC; it is started again by itself. If this stays, restart the machine. ({})",
            clock(silence.since),
            silence.why
        ),
        (None, None) => "Waiting for the agent.".to_owned(),
        (None, Some(view)) => view.detail.clone(),
    }
}

/// The code, as long as somebody may want to compare it.
fn code_to_compare(view: &SelfView) -> Option<&str> {
    let compared = matches!(view.state, SelfState::Enrolling | SelfState::Pending | SelfState::Rejected);
    view.code.as_ref().filter(|_| compared).map(|code| code.as_str())
}

fn event_line(event: &SelfEvent) -> String {
    format!("  {} {}", clock(event.time), event.message)
}

/// Hours, minutes and seconds of a time in UTC.
fn clock(time: Timestamp) -> String {
    let text = time.to_string();
    let (_, clock) = text.split_once('T').unwrap_or(("", &text));
    clock.chars().take("00:00:00".len()).collect()
}

/// Text from elsewhere as a terminal may get it: no control characters and nothing beyond ASCII.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// Breaks text at blanks into at most `lines` lines of `width` columns.
fn wrap(text: &str, width: usize, lines: usize) -> Vec<String> {
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
struct Rows<'a> {
    area: Rect,
    buffer: &'a mut Buffer,
}

impl Rows<'_> {
    fn take(&mut self, height: u16) -> Rect {
        let height = height.min(self.area.height);
        let taken = Rect { height, ..self.area };
        self.area.y += height;
        self.area.height -= height;
        taken
    }

    fn skip(&mut self) {
        self.take(1);
    }

    fn line(&mut self, text: &str, style: Style) {
        let row = self.take(1);
        if row.height > 0 {
            self.buffer.set_stringn(row.x, row.y, printable(text), usize::from(row.width), style);
        }
    }

    fn fact(&mut self, label: &str, value: &str) {
        let row = self.take(1);
        if row.height == 0 {
            return;
        }
        let width = usize::from(row.width);
        self.buffer.set_stringn(row.x, row.y, format!(" {label}"), width, Style::new().fg(Color::Cyan));
        let indent = facts::LABEL_WIDTH.min(row.width);
        let value = printable(value);
        self.buffer.set_stringn(row.x + indent, row.y, value, usize::from(row.width - indent), Style::new());
    }

    /// The code in big letters, or in small ones where there is no room.
    fn big(&mut self, code: &str) {
        let needed = glyphs::width(code.chars().count());
        if self.area.width <= needed || self.area.height < glyphs::HEIGHT {
            self.fact("Code", code);
            return;
        }
        let row = self.take(glyphs::HEIGHT);
        let indent = facts::LABEL_WIDTH.min(row.width - needed);
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
