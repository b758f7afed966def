//! What a person does at a node's own console: installs it, sees who waits, updates it from a stick, resets it.

use meadow_rack::qemu::stick_serial;
use meadow_tests_vm::story::{PASSPHRASE, Story};
use meadow_tests_vm::wait_screen;

use crate::steps::expect_restart;

fn types(story: &mut Story, number: usize, keys: &str) {
    story.site.rack_mut().machine(number).expect("there").type_text(keys).expect("typed");
}

fn sees(story: &mut Story, number: usize, texts: &[&str]) -> String {
    wait_screen(story.site.rack_mut(), number, texts)
}

/// Installs a node that runs from memory and restarts it into its disk; the recovery key, as the screen shows it.
pub(crate) fn installs(story: &mut Story, number: usize) -> String {
    let serial = format!("node-{number}");
    types(story, number, "i");
    sees(story, number, &["Puts there the system and its state", &format!("vda {serial}")]);
    types(story, number, "\r");
    sees(story, number, &["LOST nothing", "Type the serial number of this disk"]);
    types(story, number, &format!("{serial}\r"));
    for question in ["New passphrase of the state", "The same again"] {
        sees(story, number, &[question]);
        types(story, number, &format!("{PASSPHRASE}\r"));
    }
    let screen = sees(story, number, &["write it on paper.", "I have written it down"]);
    let shown = screen.split("write it on paper.").nth(1).and_then(|rest| rest.split("I have written").next());
    let key: Vec<&str> = shown.expect("a key").split_whitespace().collect();
    types(story, number, "written\r");
    sees(story, number, &["r restarts this machine into its disk"]);
    expect_restart(story, number);
    types(story, number, "r");
    key.join("-")
}

/// The console of one node says that another one waits for its passphrase.
pub(crate) fn watches(story: &mut Story, number: usize, waiting: &str) {
    types(story, number, "s");
    sees(story, number, &[&format!("{waiting} waits for its passphrase: meadow unlock {waiting}")]);
}

/// Orders the update from the stick that is plugged in.
pub(crate) fn updates(story: &mut Story, number: usize) {
    let stick = stick_serial(&format!("node-{number}"));
    types(story, number, "u");
    sees(story, number, &["Older too no", &stick]);
    types(story, number, "\r");
    sees(story, number, &["Press y to do it"]);
    expect_restart(story, number);
    types(story, number, "y");
}

/// Erases the node.
pub(crate) fn resets(story: &mut Story, number: usize) {
    let node = format!("node-{number}");
    types(story, number, "\x1br");
    sees(story, number, &["Factory reset", "Enter show the plan"]);
    types(story, number, "\r");
    sees(story, number, &[&format!("ERASED the state of {node}"), &format!("Type {node} to erase")]);
    expect_restart(story, number);
    types(story, number, &format!("{node}\r"));
}
