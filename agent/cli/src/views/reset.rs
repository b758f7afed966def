//! Plans of factory resets, and what was done.

use meadow_model::reset::{ResetDone, ResetPlan};

use crate::output::{Column, View};

impl View for ResetPlan {
    fn reference(&self) -> String {
        format!("reset-plan/{}", self.hash)
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "NODE", wide: false, cell: |p| p.node.as_str().into() },
            Column { title: "ERASES", wide: false, cell: |p| erases(p).into() },
            Column { title: "WIPES", wide: false, cell: |p| wipes(p).into() },
            Column { title: "KEEPS", wide: false, cell: |p| p.keeps.join(", ").into() },
            Column { title: "HASH", wide: true, cell: |p| p.hash.as_str().into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Node", self.node.to_string()),
            ("Erases", erases(self)),
            ("Wipes", wipes(self)),
            ("Keeps", self.keeps.join(", ")),
            ("Hash", self.hash.clone()),
        ]
    }
}

impl View for ResetDone {
    fn reference(&self) -> String {
        self.plan.reference()
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "NODE", wide: false, cell: |d| d.plan.node.as_str().into() },
            Column { title: "ERASED", wide: false, cell: |d| erases(&d.plan).into() },
            Column { title: "WIPED", wide: false, cell: |d| erased(d).into() },
            Column { title: "KEPT", wide: false, cell: |d| d.plan.keeps.join(", ").into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Node", self.plan.node.to_string()),
            ("Erased", erases(&self.plan)),
            ("Wiped", erased(self)),
            ("Kept", self.plan.keeps.join(", ")),
        ]
    }
}

fn erased(done: &ResetDone) -> String {
    done.erased.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn erases(plan: &ResetPlan) -> String {
    plan.own.as_ref().map(|own| format!("the state on {}", own.serial)).unwrap_or_default()
}

fn wipes(plan: &ResetPlan) -> String {
    plan.wipes.iter().map(|wiped| wiped.serial.as_str()).collect::<Vec<_>>().join(", ")
}
