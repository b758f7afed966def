//! What a boot server shows: what is wrong with it, and the machines that boot.

use meadow_model::boot::{MachineBoot, PxeStatus};
use ratatui::style::{Color, Style};

use crate::rows::Rows;

/// Machines and problems shown at most; `meadow pxe` has the rest.
const MACHINES: usize = 4;
const PROBLEMS: usize = 2;
/// Lines of one problem or next step.
const LINES: usize = 4;

/// What the boot server of this computer says.
#[derive(Clone, Debug, PartialEq)]
pub struct Boots {
    /// How it is.
    pub status: PxeStatus,
    /// The machines that it saw.
    pub machines: Vec<MachineBoot>,
}

/// Draws it; nothing where the boot server is off or has nothing to tell.
pub(super) fn render(boots: &Boots, rows: &mut Rows<'_>) {
    let caution = Style::new().fg(Color::Yellow);
    let problems = boots.status.all_problems().take(PROBLEMS);
    for (label, problem) in std::iter::once("Boot server").chain(std::iter::repeat("")).zip(problems) {
        rows.long_fact(label, problem, LINES, caution);
    }
    let mut machines: Vec<&MachineBoot> = boots.machines.iter().filter(|machine| machine.under_way).collect();
    machines.sort_by_key(|machine| std::cmp::Reverse(machine.last_seen));
    let shown = machines.iter().take(MACHINES);
    for (label, machine) in std::iter::once("Boots").chain(std::iter::repeat("")).zip(shown) {
        rows.fact(label, &line(machine));
        if let Some(step) = &machine.next_step {
            rows.long_fact("", step, LINES, caution);
        }
    }
    if machines.len() > MACHINES {
        rows.fact("", &format!("and {} more; `meadow pxe` shows all", machines.len() - MACHINES));
    }
}

fn line(machine: &MachineBoot) -> String {
    let percent = machine.percent.map(|percent| format!(" {percent} %")).unwrap_or_default();
    let firmware = machine.firmware.as_deref().map(|firmware| format!(" [{firmware}]")).unwrap_or_default();
    let waits = machine.waits_for.as_deref().map(|wait| format!("; waits: {wait}")).unwrap_or_default();
    format!("{}{firmware} {}{percent}{waits}", machine.mac, machine.stage)
}
