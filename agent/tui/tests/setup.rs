//! The pages beside the first one, as text under `testdata`, and what keys do on them.

use std::path::Path;

use meadow_client::ClientError;
use meadow_model::console::SelfView;
use meadow_model::hardware::Disk;
use meadow_model::install::{InstallMode, InstallPlan};
use meadow_model::network::{NetworkTrial, NetworkView};
use meadow_model::reset::{ResetPlan, ResetRequest};
use meadow_model::work::{StickUpdate, SupportTask};
use meadow_model::{Problem, ProblemCode};
use meadow_tui::app::{App, Wish};
use meadow_tui::keys::{Key, keys};
use meadow_tui::page::Page;
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use serde_json::{Value, json};

fn view(change: Value) -> SelfView {
    let mut view = json!({
        "name": "node-1", "state": "ready", "detail": "node node-1 of the cluster", "cluster": "home",
        "ca_fingerprint": "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
        "fingerprint": "SHA256:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ", "code": null,
        "addresses": [], "api": ["https://192.0.2.2:7443"], "events": [], "version": "0.1.0",
        "disks": {
            "disks": [
                {"name": "sda", "model": "ACME 9000", "serial": "S1", "size_bytes": 512_000_000_000_u64, "rotational": false,
                 "transport": "sata", "read_only": false, "signature": "gpt", "partitions": [
                    {"number": 1, "name": "data", "size_bytes": 1000, "content": "ext4", "label": "photos"}]},
                {"name": "sdb", "model": null, "serial": "S2", "size_bytes": 64_000_000_000_u64, "rotational": true,
                 "transport": "usb", "read_only": false, "signature": null},
            ],
            "durable": true,
            "installed": {
                "serial": "S1", "disk": "sda", "mode": "system", "luks_uuid": "", "running": "b", "blessed": "a", "tried": null,
                "host_key": "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg", "host_key_sealed": false,
                "keys": [{"slot": 0, "kind": "passphrase", "label": "", "created": null},
                         {"slot": 1, "kind": "recovery", "label": "", "created": null}],
            },
        },
        "work": [{"operation": "op-7", "step": "fetches the image: root.img", "percent": 40}],
        "waits_for_unlock": ["node-2"],
    });
    view.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
    serde_json::from_value::<SelfView>(view).expect("a view").judged()
}

fn network() -> NetworkView {
    let card = |name: &str, last: u8| json!({"name": name, "mac": format!("52:54:00:00:00:0{last}")});
    serde_json::from_value(json!({
        "cards": [
            {"card": card("eth0", 1), "carrier": true, "addresses": ["192.0.2.10/24", "2001:db8::10/64"], "gateway": "192.0.2.1",
             "networks": []},
            {"card": card("eth1", 2), "carrier": false, "addresses": [], "gateway": null, "networks": [
                {"card": card("eth1", 2), "vlan": 7, "address": "198.51.100.7/24", "gateway": null, "dns": ["192.0.2.53"]}]},
        ],
        "trial": null, "lasts": true, "locked": null,
    }))
    .expect("a view")
}

fn app(change: Value) -> App {
    let mut app = App::default();
    app.page = Page { view: Some(view(change)), ..Page::default() };
    app.network_is(network());
    app
}

/// Types at the console; what was wanted last.
fn press(app: &mut App, text: &str) -> Option<Wish> {
    keys(text.as_bytes()).into_iter().map(|key| app.press(key).0).last().flatten()
}

fn drawn(app: &App, width: u16, height: u16) -> String {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    app.draw(area, &mut buffer);
    let row =
        |y| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>().trim_end().to_owned() + "\n";
    (0..height).map(row).collect()
}

/// 80×24 less the rows that are left to the kernel's messages.
fn compare(name: &str, app: &App) {
    let found = drawn(app, 80, 22);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(format!("{name}-80x24.txt"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &found).expect("written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{name} is to be:\n{expected}\nbut is:\n{found}\n(UPDATE=1 takes it)");
}

fn plan() -> InstallPlan {
    let part = |number: u32, name: &str| json!({"number": number, "name": name, "type_guid": "", "start": 0, "size": 268_435_456_u64});
    serde_json::from_value(json!({
        "node": "node-1", "mode": "system", "disk": "sda", "serial": "S1", "model": "ACME 9000", "size_bytes": 512_000_000_000_u64,
        "loses": ["partition 1 \"data\": ext4 \"photos\""],
        "partitions": [part(1, "meadow-bios"), part(2, "meadow-esp"), part(3, "meadow-root-a"), part(6, "meadow-state")],
        "free_bytes": 480_000_000_000_u64, "hash": "abc",
    }))
    .expect("a plan")
}

#[test]
fn setup_tells_what_the_machine_has_and_whether_it_may_be_switched_off() {
    let mut busy = app(json!({}));
    press(&mut busy, "s");
    compare("setup-busy", &busy);
    let mut pending = app(json!({
        "name": "m-9a0b5c451f", "state": "pending", "detail": "It waits for a person: compare the code and approve it.",
        "code": "K7QX-2M4P", "disks": null, "work": [], "waits_for_unlock": [],
    }));
    press(&mut pending, "s");
    compare("setup-pending", &pending);
    let mut safe = app(json!({"work": []}));
    if let Some(known) = safe.page.view.as_mut().and_then(|view| view.disks.as_mut()).and_then(|d| d.installed.as_mut())
    {
        known.blessed = known.running;
    }
    safe.page.view = safe.page.view.map(SelfView::judged);
    press(&mut safe, "s");
    assert!(drawn(&safe, 80, 22).contains("YES, it is safe now"));
    assert!(drawn(&safe, 80, 22).contains("meadow unlock node-2"));
}

#[test]
fn a_card_is_set_tried_and_kept_or_taken_back() {
    let mut app = app(json!({}));
    press(&mut app, "n");
    compare("network", &app);
    // Down to the addresses, fixed, and the texts below.
    let wish = press(&mut app, "\t\t \t192.0.2.7/24\t192.0.2.1\t192.0.2.53, 192.0.2.54\r");
    let Some(Wish::Try(change)) = wish else { panic!("{wish:?}") };
    let [wanted] = change.networks.as_slice() else { panic!("{change:?}") };
    assert_eq!((wanted.card.as_str(), wanted.vlan, wanted.address.as_deref()), ("eth0", None, Some("192.0.2.7/24")));
    assert_eq!((wanted.gateway, wanted.dns.len()), ("192.0.2.1".parse().ok(), 2));

    let mut problem = Problem::new(ProblemCode::BadRequest, "wrong");
    problem.fields = serde_json::from_value(json!([{"field": "/networks/0/gateway",
        "message": "192.0.2.1 is not in the network of 198.51.100.7/24, so it cannot be reached"}]))
    .expect("fields");
    app.failed(&ClientError::Problem(Box::new(problem)));
    compare("network-refused", &app);

    let mut tried = network();
    let networks = tried.cards[1].networks.clone();
    tried.trial = Some(NetworkTrial { networks, left_s: 42 });
    app.network_is(tried.clone());
    compare("network-tried", &app);
    assert_eq!(press(&mut app, "k"), Some(Wish::EndTrial { keep: true }));
    assert_eq!(press(&mut app, "b"), Some(Wish::EndTrial { keep: false }));
    assert_eq!(press(&mut app, "\r"), None, "nothing else is tried meanwhile");
}

#[test]
fn a_text_that_is_no_address_is_told_at_its_line_and_asked_of_nobody() {
    let mut app = app(json!({}));
    press(&mut app, "n");
    assert_eq!(press(&mut app, "\t\t \t\t192.0.2\r"), None);
    assert!(drawn(&app, 80, 22).contains("\"192.0.2\" is no address"), "{}", drawn(&app, 80, 22));
    // The other card shows what it is told.
    press(&mut app, "\x1b");
    press(&mut app, "n\x1b[C");
    let shown = drawn(&app, 80, 22);
    assert!(shown.contains("[198.51.100.7/24]") && shown.contains("[7]") && shown.contains("< fixed >"), "{shown}");
}

#[test]
fn a_disk_is_wiped_only_after_its_serial_number_and_a_passphrase_typed_twice() {
    let mut app = app(json!({}));
    press(&mut app, "i");
    compare("install-disks", &app);
    assert_eq!(press(&mut app, "\r"), Some(Wish::Plan { serial: "S1".to_owned(), mode: InstallMode::System }));
    app.planned(plan());
    compare("install-plan", &app);
    assert_eq!(press(&mut app, "S2\r"), None);
    assert!(drawn(&app, 80, 22).contains("another serial number"));
    assert_eq!(press(&mut app, "S1\r"), None);
    assert_eq!(press(&mut app, "short\r"), None);
    assert!(drawn(&app, 80, 22).contains("are guessed"));
    assert_eq!(press(&mut app, "correct horse\rcorrect hors\r"), None);
    assert!(drawn(&app, 80, 22).contains("differ"));
    press(&mut app, "correct horse\r");
    let shown = drawn(&app, 80, 22);
    assert!(!shown.contains("correct"), "{shown}");
    let wish = press(&mut app, "correct horse\r");
    let Some(Wish::Install { plan, passphrase }) = wish else { panic!("{wish:?}") };
    assert_eq!((plan.serial.as_str(), passphrase.expose().as_str()), ("S1", "correct horse"));
    // What runs cannot be left.
    press(&mut app, "\x1b");
    assert!(drawn(&app, 80, 22).contains("it goes on"));
    app.failed(&ClientError::Problem(Box::new(Problem::new(ProblemCode::PlanChanged, "the disk is another now"))));
    assert!(drawn(&app, 80, 22).contains("the disk is another now. Look at the new plan"));
}

#[test]
fn a_passphrase_that_another_keyboard_types_differently_is_not_taken() {
    let mut app = app(json!({}));
    press(&mut app, "i\r");
    app.planned(plan());
    press(&mut app, "S1\r");
    assert!(drawn(&app, 80, 22).contains("types as a US one"));
    press(&mut app, "k\u{e4}se und brot\r");
    let shown = drawn(&app, 80, 22);
    assert!(shown.contains("without accents") && shown.contains("New passphrase"), "{shown}");
}

#[test]
fn what_the_api_refuses_is_told_with_the_next_step_and_silence_only_while_it_lasts() {
    let mut app = app(json!({}));
    press(&mut app, "n");
    let silence =
        ClientError::NoAgent { path: "/run/meadow/meadowd.sock".into(), why: "connection refused".to_owned() };
    app.failed(&silence);
    let words = |app: &App| drawn(app, 80, 22).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&app).contains("Is meadowd running on this computer"), "{}", words(&app));
    app.network_is(network());
    assert!(!words(&app).contains("meadowd running"), "it answers again: {}", words(&app));

    let refused = "no settings are tried, or they were taken back already";
    app.failed(&ClientError::Problem(Box::new(Problem::new(ProblemCode::Conflict, refused))));
    app.network_is(network());
    let told = "they were taken back already. Look at the resource and try again.";
    assert!(words(&app).contains(told), "{}", words(&app));
}

fn plugged_in() -> Vec<Disk> {
    serde_json::from_value(json!([
        {"name": "sda", "model": "ACME 9000", "serial": "S1", "size_bytes": 512_000_000_000_u64, "rotational": false,
         "transport": "sata", "read_only": false, "signature": "gpt", "in_use": ["/var"], "partitions": [
            {"number": 5, "name": "meadow-preboot", "size_bytes": 1000, "content": null, "label": null},
            {"number": 6, "name": "meadow-state", "size_bytes": 1000, "content": "crypto_LUKS", "label": null}]},
        {"name": "sdb", "model": null, "serial": "S2", "size_bytes": 64_000_000_000_u64, "rotational": true,
         "transport": "sata", "read_only": false, "signature": "ntfs"},
        {"name": "sdc", "model": "Flash", "serial": "S3", "size_bytes": 8_000_000_000_u64, "rotational": false,
         "transport": "usb", "read_only": false, "signature": "gpt", "partitions": [
            {"number": 2, "name": "meadow-root-a", "size_bytes": 1000, "content": null, "label": null},
            {"number": 3, "name": "meadow-seed", "size_bytes": 1000, "content": null, "label": null}]},
        {"name": "sdd", "model": "Flash", "serial": "S4", "size_bytes": 4_000_000_000_u64, "rotational": false,
         "transport": "usb", "read_only": false, "signature": "vfat"},
    ]))
    .expect("disks")
}

fn reset_plan() -> ResetPlan {
    serde_json::from_value(json!({
        "node": "node-1", "own": {"serial": "S1", "disk": "sda", "luks_uuid": "u"},
        "wipes": [{"serial": "S2", "disk": "sdb", "model": null, "size_bytes": 64_000_000_000_u64, "loses": ["ntfs \"photos\""]}],
        "keeps": ["sdc (S3), 8 GiB", "sdd (S4), 4 GiB"], "hash": "abc",
    }))
    .expect("a plan")
}

#[test]
fn a_node_is_erased_only_after_each_disk_and_its_own_name_were_typed() {
    let mut app = app(json!({}));
    assert_eq!(press(&mut app, "sr"), Some(Wish::LookAtDisks));
    app.disks_are(plugged_in());
    press(&mut app, " ");
    compare("reset-disks", &app);
    assert_eq!(press(&mut app, "\r"), Some(Wish::PlanReset { disks: vec!["S2".to_owned()] }));
    app.reset_planned(reset_plan());
    compare("reset-plan", &app);
    assert_eq!(press(&mut app, "node-1\r"), None);
    assert!(drawn(&app, 80, 22).contains("something else"), "the disk is asked for first");
    assert_eq!(press(&mut app, "S2\r"), None);
    assert!(drawn(&app, 80, 22).contains("Type node-1 to erase"), "{}", drawn(&app, 80, 22));
    assert_eq!(press(&mut app, "node-2\r"), None);
    let wish = press(&mut app, "node-1\r");
    let agreed = ResetRequest { disks: vec!["S2".to_owned()], consent: Some("abc".to_owned()) };
    assert_eq!(wish, Some(Wish::Reset(agreed)));
    press(&mut app, "\x1b");
    assert!(drawn(&app, 80, 22).contains("it goes on"));
    app.failed(&ClientError::Problem(Box::new(Problem::new(ProblemCode::PlanChanged, "the disk is another now"))));
    assert!(drawn(&app, 80, 22).contains("the disk is another now"));
    // Whoever comes next finds nothing marked.
    press(&mut app, "\x1b");
    press(&mut app, "r");
    app.disks_are(plugged_in());
    assert_eq!(press(&mut app, "\r"), Some(Wish::PlanReset { disks: Vec::new() }));
}

#[test]
fn a_stick_with_an_image_updates_after_a_question_and_any_stick_takes_a_bundle() {
    let mut app = app(json!({}));
    assert_eq!(press(&mut app, "su"), Some(Wish::LookAtDisks));
    app.disks_are(Vec::new());
    assert!(drawn(&app, 80, 22).contains("No stick with a Meadow image"));
    assert_eq!((press(&mut app, "\r"), press(&mut app, "l")), (None, Some(Wish::LookAtDisks)));
    app.disks_are(plugged_in());
    compare("update", &app);
    assert_eq!(press(&mut app, "a\r"), None);
    assert!(drawn(&app, 80, 22).contains("Press y"));
    let update = StickUpdate { stick: "S3".to_owned(), allow_older: true };
    assert_eq!(press(&mut app, "y"), Some(Wish::Update(update)));
    app.failed(&ClientError::Problem(Box::new(Problem::new(ProblemCode::Conflict, "it is older"))));
    assert!(drawn(&app, 80, 22).contains("it is older"));

    press(&mut app, "\x1b");
    assert_eq!(press(&mut app, "b"), Some(Wish::LookAtDisks));
    app.disks_are(plugged_in());
    compare("bundle", &app);
    assert_eq!(press(&mut app, "\t\t\r"), Some(Wish::Support(SupportTask { stick: "S4".to_owned() })));
}

#[test]
fn leaving_forgets_what_was_typed() {
    let mut app = app(json!({}));
    press(&mut app, "i\r");
    app.planned(plan());
    press(&mut app, "S1\rcorrect horse\x1b");
    press(&mut app, "i");
    assert!(drawn(&app, 80, 22).contains("Enter show the plan"));
    app.planned(plan());
    app.idle();
    assert!(drawn(&app, 80, 22).contains("s setup and repair"));
}

#[test]
fn the_code_for_a_telephone_fits_the_smallest_terminal() {
    let mut app = app(json!({}));
    press(&mut app, "c");
    let shown = drawn(&app, 80, 22);
    assert!(shown.matches('\u{2580}').count() > 600, "{shown}");
    assert!(drawn(&app, 30, 10).contains("columns and"));
}

proptest! {
    #[test]
    fn any_keys_on_any_size_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..80), width in 0_u16..200, height in 0_u16..60) {
        let mut app = app(json!({}));
        for key in keys(&bytes) {
            let (wish, _) = app.press(key);
            let harmless =
                matches!(wish, None | Some(Wish::Try(_) | Wish::Plan { .. } | Wish::LookAtDisks | Wish::PlanReset { .. }));
            prop_assert!(harmless, "{wish:?}");
        }
        let area = Rect::new(0, 0, width, height);
        app.draw(area, &mut Buffer::empty(area));
        let _ = app.press(Key::Other);
    }
}
