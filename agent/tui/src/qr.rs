//! A QR code for a telephone, two modules a cell in half blocks.

use meadow_model::console::SelfView;
use qrcode::{Color as Module, EcLevel, QrCode};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Style};

/// Light modules around the code; the standard wants four, and readers make do with two where there is no room.
const MARGINS: [usize; 2] = [4, 2];

/// What the code says: where the API is, and the key of the cluster's CA to compare; before there is a cluster, the
/// machine's own key.
pub(crate) fn text(view: &SelfView) -> Option<String> {
    let known = view.ca_fingerprint.or(view.fingerprint)?;
    Some(match view.api.first() {
        Some(api) => format!("{}/#{known}", api.trim_end_matches('/')),
        None => known.to_string(),
    })
}

/// Draws it into the top left of `area`; what to do where it does not fit.
pub(crate) fn draw(text: &str, area: Rect, buffer: &mut Buffer) -> Result<(), String> {
    let code =
        QrCode::with_error_correction_level(text, EcLevel::L).map_err(|e| format!("there is no such code: {e}"))?;
    let modules = code.width();
    let fits = |margin: &usize| {
        let side = modules + 2 * margin;
        side <= usize::from(area.width) && side.div_ceil(2) <= usize::from(area.height)
    };
    let margin = MARGINS.into_iter().find(fits).ok_or_else(|| {
        let side = modules + 2 * MARGINS[1];
        format!("the code needs {side} columns and {} rows: use a larger terminal", side.div_ceil(2))
    })?;
    let colors = code.to_colors();
    let dark = |x: usize, y: usize| {
        let (Some(x), Some(y)) = (x.checked_sub(margin), y.checked_sub(margin)) else { return false };
        x < modules && y < modules && colors.get(y * modules + x) == Some(&Module::Dark)
    };
    let paint = |dark: bool| if dark { Color::Black } else { Color::White };
    let side = modules + 2 * margin;
    for (row, y) in (0..side).step_by(2).zip(area.top()..area.bottom()) {
        for (column, x) in (0..side).zip(area.left()..area.right()) {
            // Below the last row there is nothing, which is light too.
            let style = Style::new().fg(paint(dark(column, row))).bg(paint(dark(column, row + 1)));
            if let Some(cell) = buffer.cell_mut(Position::new(x, y)) {
                cell.set_symbol("\u{2580}").set_style(style);
            }
        }
    }
    Ok(())
}
