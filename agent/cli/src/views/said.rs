//! What an agent did on its own computer.

use meadow_api::wire::Said;

use crate::output::{Column, View};

impl View for Said {
    fn reference(&self) -> String {
        "done".to_owned()
    }

    fn columns() -> &'static [Column<Self>] {
        &[Column { title: "DONE", wide: false, cell: |said| said.message.as_str().into() }]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        vec![("Done", self.message.clone())]
    }
}
