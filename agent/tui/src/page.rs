//! The first page.

pub(crate) mod boots;
pub(crate) mod facts;

use meadow_model::Timestamp;
use meadow_model::console::{SelfEvent, SelfState, SelfView};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

pub use boots::Boots;

use crate::rows::{Rows, wrap};

/// Lines that the sentence below the title may take.
const DETAIL_LINES: usize = 2;

/// What the page shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// What the agent said last.
    pub view: Option<SelfView>,
    /// What the boot server of this computer says, where it has one.
    pub boots: Option<Boots>,
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
    let mut rows = Rows::new(area, buffer);
    title(page, &mut rows);
    for line in wrap(&detail(page), usize::from(area.width), DETAIL_LINES) {
        rows.line(&line, Style::new());
    }
    let Some(view) = &page.view else { return };
    rows.skip();
    for (label, value) in facts::facts(view) {
        rows.fact(label, &value);
    }
    if let Some(boots) = &page.boots {
        boots::render(boots, &mut rows);
    }
    if let Some(code) = code_to_compare(view) {
        rows.skip();
        rows.big(code);
    }
    rows.skip();
    rows.line(" Last events", Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD));
    let room = usize::from(rows.height());
    for event in view.events.iter().rev().take(room).rev() {
        rows.line(&event_line(event), Style::new());
    }
}

/// The name, and the state in words and colour.
pub(crate) fn title(page: &Page, rows: &mut Rows<'_>) {
    let (state, colour) = match (&page.silence, &page.view) {
        (Some(_), _) => ("AGENT NOT RUNNING", Color::Red),
        (None, None) => ("STARTING", Color::Blue),
        (None, Some(view)) => state(view.state),
    };
    let name = page.view.as_ref().and_then(|view| view.name.as_ref());
    let version = page.view.as_ref().map_or(String::new(), |view| format!(" {}", view.version));
    let name = name.map_or("(no name yet)", |name| name.as_str());
    let left = format!(" Meadow{version}  {name}");
    let width = usize::from(rows.width());
    let gap = width.saturating_sub(left.chars().count() + state.len() + 1);
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
