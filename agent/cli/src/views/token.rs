//! Join tokens.

use meadow_model::token::{NewToken, Token};

use super::now;
use crate::duration;
use crate::output::{Cell, Column, Tone, View};

impl View for Token {
    fn reference(&self) -> String {
        format!("token/{}", self.metadata.name)
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "NAME", wide: false, cell: |t| t.metadata.name.as_str().into() },
            Column { title: "STATE", wide: false, cell: state },
            Column { title: "USED", wide: false, cell: |t| used(t).into() },
            Column { title: "EXPIRES", wide: false, cell: |t| duration::left(now(), t.spec.expires).into() },
            Column { title: "CREATED", wide: true, cell: |t| t.metadata.created.to_string().into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Token", self.metadata.name.to_string()),
            ("State", state(self).text),
            ("Used", used(self)),
            ("Expires", self.spec.expires.to_string()),
            ("Created", self.metadata.created.to_string()),
        ]
    }
}

impl View for NewToken {
    fn reference(&self) -> String {
        self.token.reference()
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "NAME", wide: false, cell: |new| new.token.metadata.name.as_str().into() },
            Column { title: "TEXT", wide: false, cell: |new| new.text.expose().as_str().into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let mut lines = self.token.describe();
        lines.push(("Text", self.text.expose().clone()));
        lines
    }
}

fn used(token: &Token) -> String {
    format!("{} of {}", token.status.used, token.spec.uses)
}

fn state(token: &Token) -> Cell {
    let (text, tone) = if token.spec.revoked {
        ("Revoked", Tone::Bad)
    } else if token.status.used >= token.spec.uses {
        ("Used", Tone::Plain)
    } else if token.spec.expires <= now() {
        ("Expired", Tone::Plain)
    } else {
        ("Valid", Tone::Good)
    };
    Cell { text: text.to_owned(), tone }
}
