//! The codes of problems.

use meadow_model::ProblemCode;
use serde::Serialize;

use crate::output::{Column, View};

/// What a code means.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Explanation {
    /// The code.
    code: &'static str,
    /// HTTP status; none of what the boot server reports by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// What is wrong.
    title: &'static str,
    /// What to do next.
    hint: &'static str,
    /// How a command that meets it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
}

impl Explanation {
    /// All codes: of the API's errors, then of the boot server's problems.
    pub(crate) fn all() -> Vec<Self> {
        let of_api = ProblemCode::ALL.iter().copied().map(Self::from);
        let of_boot_server = meadow_pxe::PROBLEM_CODES.iter().map(|&(code, title, hint)| Self {
            code,
            title,
            hint,
            status: None,
            exit_code: None,
        });
        of_api.chain(of_boot_server).collect()
    }

    /// The code.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }
}

/// A number, or nothing.
fn shown(number: Option<impl ToString>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

impl From<ProblemCode> for Explanation {
    fn from(code: ProblemCode) -> Self {
        Self {
            code: code.as_str(),
            status: Some(code.status()),
            title: code.title(),
            hint: code.hint(),
            exit_code: Some(crate::exit::exit_of_problem(code) as u8),
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
            Column { title: "STATUS", wide: true, cell: |e| shown(e.status).into() },
            Column { title: "EXIT", wide: true, cell: |e| shown(e.exit_code).into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let mut lines =
            vec![("Code", self.code.to_owned()), ("Meaning", self.title.to_owned()), ("Next", self.hint.to_owned())];
        lines.extend(self.status.map(|status| ("HTTP status", status.to_string())));
        lines.extend(self.exit_code.map(|exit| ("Exit code", exit.to_string())));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_servers_codes_are_explained_beside_those_of_the_api() {
        let all = Explanation::all();
        let of = |code: &str| all.iter().find(|known| known.code() == code).expect("explained").describe();
        assert!(of("pxe.port-taken").iter().any(|(label, text)| *label == "Next" && text.contains("stop the program")));
        assert!(of("storage-full").iter().any(|(label, _)| *label == "HTTP status"));
    }
}
