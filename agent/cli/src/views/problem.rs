//! The codes of problems.

use meadow_model::ProblemCode;
use serde::Serialize;

use crate::output::{Column, View};

/// What a code means.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Explanation {
    /// The code.
    code: &'static str,
    /// HTTP status.
    status: u16,
    /// What is wrong.
    title: &'static str,
    /// What to do next.
    hint: &'static str,
    /// How a command that meets it ends.
    exit_code: u8,
}

impl From<ProblemCode> for Explanation {
    fn from(code: ProblemCode) -> Self {
        Self {
            code: code.as_str(),
            status: code.status(),
            title: code.title(),
            hint: code.hint(),
            exit_code: crate::exit::exit_of_problem(code) as u8,
        }
    }
}

impl View for Explanation {
    fn reference(&self) -> String {
        format!("problem/{}", self.code)
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "CODE", wide: false, cell: |e| e.code.into() },
            Column { title: "MEANING", wide: false, cell: |e| e.title.into() },
            Column { title: "NEXT", wide: false, cell: |e| e.hint.into() },
            Column { title: "STATUS", wide: true, cell: |e| e.status.to_string().into() },
            Column { title: "EXIT", wide: true, cell: |e| e.exit_code.to_string().into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Code", self.code.to_owned()),
            ("Meaning", self.title.to_owned()),
            ("Next", self.hint.to_owned()),
            ("HTTP status", self.status.to_string()),
            ("Exit code", self.exit_code.to_string()),
        ]
    }
}
