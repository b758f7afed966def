//! `docs/problems.md` lists every problem; it is made from the registry. `UPDATE=1 cargo test` writes it anew.

#![allow(clippy::disallowed_methods, reason = "a test reads and writes the document that it holds")]

use std::fmt::Write as _;
use std::path::Path;

use meadow_model::ProblemCode;

fn rendered() -> String {
    let mut text = String::from(
        "# Problems\n\nWhat the API answers when it cannot do what was asked (RFC 9457, `application/problem+json`). CLI and\nconsole show the same. `meadow explain CODE` prints an entry.\n",
    );
    for code in ProblemCode::ALL {
        let (status, title, hint) = (code.status(), code.title(), code.hint());
        write!(text, "\n## {code}\n\n{title} (HTTP {status}).\n\nNext: {hint}\n").expect("a string takes everything");
    }
    text
}

#[test]
fn the_document_lists_every_problem() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/problems.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, rendered()).expect("written");
    }
    let document = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(document, rendered(), "run UPDATE=1 cargo test -p meadow-model");
}
