//! Big letters, to be compared from across the room.
//!
//! They are made of cells in reverse video, not of block characters, which not every terminal has.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

/// Rows of a letter.
pub(crate) const HEIGHT: u16 = 5;
/// Columns of a letter.
const WIDTH: u16 = 5;
/// Columns from one letter to the next.
const STEP: u16 = WIDTH + 1;

/// Rows from the top, the leftmost column in the highest of five bits. The letters are those of the verification code:
/// Crockford's base 32 and the hyphen.
const GLYPHS: &[(char, [u8; 5])] = &[
    ('0', [0b01110, 0b10011, 0b10101, 0b11001, 0b01110]),
    ('1', [0b00100, 0b01100, 0b00100, 0b00100, 0b01110]),
    ('2', [0b11110, 0b00001, 0b01110, 0b10000, 0b11111]),
    ('3', [0b11110, 0b00001, 0b01110, 0b00001, 0b11110]),
    ('4', [0b10010, 0b10010, 0b11111, 0b00010, 0b00010]),
    ('5', [0b11111, 0b10000, 0b11110, 0b00001, 0b11110]),
    ('6', [0b01110, 0b10000, 0b11110, 0b10001, 0b01110]),
    ('7', [0b11111, 0b00001, 0b00010, 0b00100, 0b00100]),
    ('8', [0b01110, 0b10001, 0b01110, 0b10001, 0b01110]),
    ('9', [0b01110, 0b10001, 0b01111, 0b00001, 0b01110]),
    ('A', [0b01110, 0b10001, 0b11111, 0b10001, 0b10001]),
    ('B', [0b11110, 0b10001, 0b11110, 0b10001, 0b11110]),
    ('C', [0b01111, 0b10000, 0b10000, 0b10000, 0b01111]),
    ('D', [0b11110, 0b10001, 0b10001, 0b10001, 0b11110]),
    ('E', [0b11111, 0b10000, 0b11110, 0b10000, 0b11111]),
    ('F', [0b11111, 0b10000, 0b11110, 0b10000, 0b10000]),
    ('G', [0b01111, 0b10000, 0b10011, 0b10001, 0b01111]),
    ('H', [0b10001, 0b10001, 0b11111, 0b10001, 0b10001]),
    ('J', [0b00111, 0b00010, 0b00010, 0b10010, 0b01100]),
    ('K', [0b10001, 0b10010, 0b11100, 0b10010, 0b10001]),
    ('M', [0b10001, 0b11011, 0b10101, 0b10001, 0b10001]),
    ('N', [0b10001, 0b11001, 0b10101, 0b10011, 0b10001]),
    ('P', [0b11110, 0b10001, 0b11110, 0b10000, 0b10000]),
    ('Q', [0b01110, 0b10001, 0b10101, 0b10010, 0b01101]),
    ('R', [0b11110, 0b10001, 0b11110, 0b10010, 0b10001]),
    ('S', [0b01111, 0b10000, 0b01110, 0b00001, 0b11110]),
    ('T', [0b11111, 0b00100, 0b00100, 0b00100, 0b00100]),
    ('V', [0b10001, 0b10001, 0b10001, 0b01010, 0b00100]),
    ('W', [0b10001, 0b10001, 0b10101, 0b11011, 0b10001]),
    ('X', [0b10001, 0b01010, 0b00100, 0b01010, 0b10001]),
    ('Y', [0b10001, 0b01010, 0b00100, 0b00100, 0b00100]),
    ('Z', [0b11111, 0b00010, 0b00100, 0b01000, 0b11111]),
    ('-', [0b00000, 0b00000, 0b01110, 0b00000, 0b00000]),
];

/// Columns that a text of `letters` letters takes.
pub(crate) fn width(letters: usize) -> u16 {
    u16::try_from(letters).unwrap_or(u16::MAX).saturating_mul(STEP)
}

/// Draws `text` from the top left corner of `area`, as far as it fits; a letter that is unknown stays empty.
pub(crate) fn draw(text: &str, area: Rect, buffer: &mut Buffer, style: Style) {
    for (letter, left) in text.chars().zip((area.left()..area.right()).step_by(usize::from(STEP))) {
        let Some((_, rows)) = GLYPHS.iter().find(|(known, _)| *known == letter) else { continue };
        for (row, y) in rows.iter().zip(area.top()..area.bottom()) {
            for (column, x) in (0..WIDTH).zip(left..area.right()) {
                if row & (1 << (WIDTH - 1 - column)) == 0 {
                    continue;
                }
                if let Some(cell) = buffer.cell_mut(Position::new(x, y)) {
                    cell.set_style(style);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::GLYPHS;

    #[test]
    fn every_letter_of_a_code_is_there_and_no_two_look_alike() {
        for letter in "0123456789ABCDEFGHJKMNPQRSTVWXYZ-".chars() {
            assert!(GLYPHS.iter().any(|(known, _)| *known == letter), "{letter}");
        }
        let shapes: HashSet<_> = GLYPHS.iter().map(|(_, rows)| rows).collect();
        assert_eq!(shapes.len(), GLYPHS.len());
        assert!(GLYPHS.iter().flat_map(|(_, rows)| rows).all(|row| *row < 32));
    }

    /// Bits in which two letters differ: with fewer than two, a blurred photograph could confuse them.
    #[test]
    fn letters_differ_in_two_cells_at_least() {
        for (index, (a, shape_a)) in GLYPHS.iter().enumerate() {
            for (b, shape_b) in &GLYPHS[index + 1..] {
                let differing: u32 = shape_a.iter().zip(shape_b).map(|(x, y)| (x ^ y).count_ones()).sum();
                assert!(differing >= 2, "{a} and {b}");
            }
        }
    }
}
