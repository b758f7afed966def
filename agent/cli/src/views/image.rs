//! Images.

use meadow_model::image::Image;

use super::{decimal_bytes, now};
use crate::duration;
use crate::output::{Column, View};

impl View for Image {
    fn reference(&self) -> String {
        format!("image/{}", self.metadata.name)
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "NAME", wide: false, cell: |i| i.metadata.name.as_str().into() },
            Column { title: "VERSION", wide: false, cell: |i| i.spec.version.as_str().into() },
            Column { title: "KERNEL", wide: false, cell: |i| i.spec.kernel.as_str().into() },
            Column { title: "SIZE", wide: false, cell: |i| decimal_bytes(i.spec.size_bytes).into() },
            Column { title: "ROLLED OUT", wide: false, cell: |i| rolled_out(i).into() },
            Column { title: "NODES", wide: false, cell: |i| nodes(i).into() },
            Column { title: "AGE", wide: true, cell: |i| duration::age(now(), i.metadata.created).into() },
            Column { title: "DIGEST", wide: true, cell: |i| i.spec.digest.as_str().into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Image", self.metadata.name.to_string()),
            ("Version", self.spec.version.clone()),
            ("Kernel", self.spec.kernel.clone()),
            ("For", self.spec.architecture.clone()),
            ("Kernel of", self.spec.date.to_string()),
            ("Size", decimal_bytes(self.spec.size_bytes)),
            ("Digest", self.spec.digest.clone()),
            ("Added", self.metadata.created.to_string()),
            ("Rolled out", rolled_out(self)),
            ("Nodes", nodes(self)),
        ]
    }
}

fn rolled_out(image: &Image) -> String {
    image.status.rolled_out.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

fn nodes(image: &Image) -> String {
    image.status.nodes.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}
