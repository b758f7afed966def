//! A page on a terminal.

use std::io::{self, Write};

use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

use crate::app::App;

/// Rows at the bottom that are left to others: the kernel and the boot write to the console as well, and what they
/// write scrolls within these rows instead of tearing the page apart.
pub const FOREIGN_ROWS: u16 = 2;

/// A terminal with the console on it. Only differences are written, so that a slow serial line is not kept busy.
pub struct Screen<W: Write> {
    terminal: Terminal<CrosstermBackend<W>>,
    size: (u16, u16),
    shown: Option<Buffer>,
}

impl<W: Write> Screen<W> {
    /// Clears a terminal of `size` columns and rows and takes it over.
    ///
    /// # Errors
    /// Where it cannot be written to.
    pub fn new(mut writer: W, size: (u16, u16)) -> io::Result<Self> {
        // Scroll over the whole screen, reset colours, clear, hide the cursor.
        writer.write_all(b"\x1b[r\x1b[0m\x1b[2J\x1b[?25l")?;
        let (width, height) = size;
        let area = Rect::new(0, 0, width, height.saturating_sub(FOREIGN_ROWS));
        let options = TerminalOptions { viewport: Viewport::Fixed(area) };
        Ok(Self { terminal: Terminal::with_options(CrosstermBackend::new(writer), options)?, size, shown: None })
    }

    /// Columns and rows.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        self.size
    }

    /// Shows it; nothing is written where it looks as it did.
    ///
    /// # Errors
    /// Where the terminal cannot be written to.
    pub fn show(&mut self, app: &App) -> io::Result<()> {
        let (width, height) = self.size;
        let mut wanted = Buffer::empty(Rect::new(0, 0, width, height.saturating_sub(FOREIGN_ROWS)));
        app.draw(wanted.area, &mut wanted);
        if self.shown.as_ref() == Some(&wanted) {
            return Ok(());
        }
        self.terminal.draw(|frame| frame.buffer_mut().merge(&wanted))?;
        self.park()?;
        self.shown = Some(wanted);
        Ok(())
    }

    /// Limits scrolling to the foreign rows and leaves the cursor there.
    fn park(&mut self) -> io::Result<()> {
        let (_, height) = self.size;
        let first = height.saturating_sub(FOREIGN_ROWS).saturating_add(1);
        let writer = self.terminal.backend_mut();
        // DECSTBM moves the cursor home, so its place comes after.
        write!(writer, "\x1b[0m\x1b[{first};{height}r\x1b[{height};1H")?;
        Write::flush(writer)
    }

    /// Gives the terminal back as it is usually found.
    ///
    /// # Errors
    /// Where it cannot be written to.
    pub fn leave(mut self) -> io::Result<()> {
        let writer = self.terminal.backend_mut();
        writer.write_all(b"\x1b[r\x1b[0m\x1b[2J\x1b[H\x1b[?25h")?;
        Write::flush(writer)
    }
}
