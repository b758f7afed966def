//! What goes over the line, read back by a terminal emulator that is not ours.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use meadow_model::Timestamp;
use meadow_tui::app::App;
use meadow_tui::page::{Page, Silence};
use meadow_tui::screen::{FOREIGN_ROWS, Screen};

/// The other end of the line.
#[derive(Clone)]
struct Line {
    terminal: Rc<RefCell<vt100::Parser>>,
    bytes: Rc<RefCell<usize>>,
}

impl Line {
    fn new() -> Self {
        Self { terminal: Rc::new(RefCell::new(vt100::Parser::default())), bytes: Rc::default() }
    }

    fn rows(&self) -> Vec<String> {
        self.terminal.borrow().screen().rows(0, 80).collect()
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.terminal.borrow_mut().process(bytes);
        *self.bytes.borrow_mut() += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn silent(why: &str) -> App {
    let mut app = App::default();
    app.page = Page { silence: Some(Silence { since: Timestamp::from_millis(0), why: why.into() }), ..Page::default() };
    app
}

#[test]
fn messages_of_others_scroll_below_the_page_and_tear_nothing() {
    let mut line = Line::new();
    let mut screen = Screen::new(line.clone(), (80, 24)).expect("screen");
    screen.show(&silent("first")).expect("shown");
    let before = line.rows();
    assert!(before[0].contains("AGENT NOT RUNNING"), "{before:#?}");

    for number in 0..30 {
        line.write_all(format!("meadow: message {number}\r\n").as_bytes()).expect("written");
    }
    let after = line.rows();
    let page = 24 - usize::from(FOREIGN_ROWS);
    assert_eq!(after[..page], before[..page]);
    assert!(after[page..].iter().any(|row| row.contains("message 29")), "{after:#?}");

    screen.show(&silent("second")).expect("shown");
    let rows = line.rows();
    assert!(rows[..page].iter().any(|row| row.contains("second")), "{rows:#?}");
}

#[test]
fn what_did_not_change_is_not_sent() {
    let line = Line::new();
    let mut screen = Screen::new(line.clone(), (80, 24)).expect("screen");
    screen.show(&silent("aaaa")).expect("shown");
    let whole = line.bytes.replace(0);
    screen.show(&silent("aaaa")).expect("shown");
    assert_eq!(*line.bytes.borrow(), 0);
    screen.show(&silent("aaab")).expect("shown");
    assert!(*line.bytes.borrow() < whole / 2, "{} of {whole} bytes", line.bytes.borrow());
}

#[test]
fn the_terminal_is_given_back_as_it_was() {
    let mut line = Line::new();
    let mut screen = Screen::new(line.clone(), (80, 24)).expect("screen");
    screen.show(&silent("x")).expect("shown");
    assert!(line.terminal.borrow().screen().hide_cursor());
    screen.leave().expect("left");
    assert!(!line.terminal.borrow().screen().hide_cursor());
    for _ in 0..24 {
        line.write_all(b"scrolls\r\n").expect("written");
    }
    assert!(line.rows()[0].contains("scrolls"), "the whole screen scrolls again");
}

#[test]
fn a_terminal_of_no_size_is_no_error() {
    for size in [(0, 0), (1, 1), (80, 2), (1000, 1000)] {
        let mut screen = Screen::new(io::sink(), size).expect("screen");
        screen.show(&silent("x")).expect("shown");
    }
}
