//! The page at both ends of the sizes it is made for, as text under `testdata`. A cell in reverse video without a letter
//! is written `#`.

use std::path::Path;

use meadow_model::Timestamp;
use meadow_model::boot::MachineBoot;
use meadow_model::console::{InterfaceAddress, SelfEvent, SelfState, SelfView};
use meadow_tui::page::{Boots, Page, Silence, render};
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;

const NOW: i64 = 1_795_371_605_000;

fn view() -> SelfView {
    let json = serde_json::json!({
        "name": "node-1", "state": "pending",
        "detail": "Compare the code below with the one that `meadow machine show node-1` tells; if they are the same, run `meadow machine approve node-1` there.",
        "cluster": "home", "ca_fingerprint": "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
        "fingerprint": "SHA256:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ", "code": "K7QX-2M4P",
        "addresses": [], "api": ["https://192.0.2.2:7443"], "events": [], "version": "0.1.0",
    });
    let mut view: SelfView = serde_json::from_value(json).expect("a valid view");
    view.addresses = [("enp1s0", "192.0.2.10", 24), ("enp1s0", "fe80::5054:ff:fe00:1", 64)]
        .map(|(interface, address, prefix_len)| InterfaceAddress {
            interface: interface.into(),
            address: address.parse().expect("address"),
            prefix_len,
        })
        .into();
    view.events =
        ["the agent started", "4 cores, 1.0 GiB of memory, 1 disk", "found the cluster home", "asked to be let in"]
            .iter()
            .zip(0..)
            .map(|(message, second)| SelfEvent {
                time: Timestamp::from_millis(NOW + second * 1000),
                message: (*message).into(),
            })
            .collect();
    view
}

fn ready() -> SelfView {
    let mut view = view();
    view.state = SelfState::Ready;
    view.detail = "3 of 3 nodes are ready.".into();
    let address = |last: &str| InterfaceAddress {
        interface: "meadow0".into(),
        address: format!("fd47:de42:98fc::{last}").parse().expect("address"),
        prefix_len: 64,
    };
    view.addresses.extend(["2", "3", "4", "5"].map(address));
    view
}

fn silent() -> Page {
    let why = "the agent does not answer on /run/meadow/api.sock: No such file or directory (os error 2).".into();
    Page { view: Some(ready()), silence: Some(Silence { since: Timestamp::from_millis(NOW), why }), boots: None }
}

/// A seed on whose LAN another server boots machines, one of ours boots and one is stuck.
fn booting() -> Page {
    let machine = |last: u8, stage: &str, more: serde_json::Value| {
        let mut json = serde_json::json!({
            "mac": format!("52:54:00:00:00:0{last}"), "firmware": "UEFI x64 PXE", "stage": stage, "message": "",
            "failed": false, "under_way": true, "last_seen": Timestamp::from_millis(NOW - i64::from(last)),
        });
        json.as_object_mut().expect("fields").extend(more.as_object().expect("fields").clone());
        serde_json::from_value::<MachineBoot>(json).expect("a valid boot")
    };
    let status = serde_json::json!({
        "serving": true, "open_until": null, "problems": [], "interfaces": [{
        "name": "eth0", "serving": true, "base_url": "http://192.0.2.2:7480/", "leases": false,
        "problems": ["another PXE server, 192.0.2.9, boots machines on eth0, and chance decides which of the two a \
                      machine takes: switch off PXE there (dnsmasq: its lines dhcp-boot and pxe-service), or serve \
                      another interface here"],
    }]});
    let machines = vec![
        machine(3, "runs its own system", serde_json::json!({"under_way": false})),
        machine(2, "was offered a boot file", serde_json::json!({"next_step": "look at the cable to its switch"})),
        machine(1, "fetches kernel and initrd", serde_json::json!({"percent": 40})),
    ];
    let boots = Some(Boots { status: serde_json::from_value(status).expect("a valid status"), machines });
    Page { view: Some(ready()), boots, ..Page::default() }
}

fn as_text(buffer: &Buffer) -> String {
    let area = buffer.area;
    let cell = |x, y| match &buffer[(x, y)] {
        cell if cell.symbol() == " " && cell.bg == Color::White => "#".to_owned(),
        cell => cell.symbol().to_owned(),
    };
    let row = |y| (0..area.width).map(|x| cell(x, y)).collect::<String>().trim_end().to_owned() + "\n";
    (0..area.height).map(row).collect()
}

fn drawn(page: &Page, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("terminal");
    terminal.draw(|frame| render(page, frame.area(), frame.buffer_mut())).expect("drawn");
    as_text(terminal.backend().buffer())
}

#[test]
fn the_pages_look_as_written_down() {
    let shown = |view| Page { view: Some(view), ..Page::default() };
    for (name, page) in [
        ("starting", Page::default()),
        ("pending", shown(view())),
        ("ready", shown(ready())),
        ("silent", silent()),
        ("boots", booting()),
    ] {
        for (width, height) in [(80, 24), (200, 50)] {
            let file = format!("{name}-{width}x{height}.txt");
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(&file);
            let expected = std::fs::read_to_string(&path).unwrap_or_default();
            let found = drawn(&page, width, height);
            assert!(found == expected, "{file} is to be:\n{expected}\nbut is:\n{found}");
        }
    }
}

#[test]
fn in_the_smallest_size_the_code_and_both_fingerprints_are_there() {
    // 80×24 less the rows that are left to the kernel's messages.
    let found = drawn(&Page { view: Some(view()), ..Page::default() }, 80, 22);
    let view = view();
    for text in [
        view.fingerprint.map(|f| f.to_string()),
        view.ca_fingerprint.map(|f| f.to_string()),
        Some("asked to be let in".into()),
    ] {
        let text = text.expect("set");
        assert!(found.contains(&text), "{text} is missing in\n{found}");
    }
    assert!(found.contains("K7QX-2M4P") && found.contains('#'), "{found}");
}

proptest! {
    #[test]
    fn any_size_and_any_text_is_drawn(width in 0_u16..260, height in 0_u16..80, text in ".{0,300}", many in 0_usize..40) {
        let mut view = view();
        view.detail.clone_from(&text);
        view.version.clone_from(&text);
        view.cluster = Some(text.clone());
        view.api = vec![text.clone()];
        let address = view.addresses[0].clone();
        view.addresses = vec![InterfaceAddress { interface: text.clone(), ..address }; many];
        view.events = vec![SelfEvent { time: Timestamp::from_millis(i64::MAX), message: text.clone() }; many];
        let page = Page { view: Some(view), ..Page::default() };
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        render(&page, area, &mut buffer);
        prop_assert!(buffer.content.iter().all(|cell| cell.symbol().is_ascii()));
    }
}
