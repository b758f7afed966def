//! The proxyDHCP engine against packets of real firmware.

#[path = "support/packets.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod packets;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use meadow_model::MacAddress;
use meadow_model::boot::BootPolicy;
use meadow_netboot::dhcp::{ASKED, BootServerQuestion, Outcome, ProxyDhcp, Receive, ServerConfig, ServerPort, Silence};
use meadow_netboot::event::OfferForm;
use meadow_netboot::{BootDecision, Firmware};
use packets::{Everyone, SERVER, captured, on_67, on_4011, option, options, request};

const NOW: Duration = Duration::from_secs(1000);
const BIOS: MacAddress = MacAddress([0x52, 0x54, 0, 0, 0, 3]);
const UEFI: MacAddress = MacAddress([0x52, 0x54, 0, 0, 0, 2]);
const DISCOVER: (u8, &[u8]) = (53, &[1]);
const PXE_BIOS: (u8, &[u8]) = (60, b"PXEClient:Arch:00000:UNDI:002001");
const ARCH_BIOS: (u8, &[u8]) = (93, &[0, 0]);

fn engine() -> ProxyDhcp {
    ProxyDhcp::new(ServerConfig { http_port: 7480 })
}

fn image() -> Everyone {
    Everyone::gets(BootPolicy::Image)
}

/// Lets a fresh engine handle one packet.
fn handle(rx: &Receive, bytes: &[u8], policy: &Everyone) -> Outcome {
    engine().handle(NOW, rx, bytes, policy)
}

fn reply(outcome: &Outcome) -> &[u8] {
    &outcome.reply.as_ref().expect("a reply").payload
}

fn codes(outcome: &Outcome) -> Vec<&'static str> {
    outcome.notes.iter().map(|note| note.kind.code()).collect()
}

fn text(value: Option<Vec<u8>>) -> String {
    String::from_utf8(value.expect("the option")).expect("text")
}

fn nul_terminated(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == 0).next().unwrap_or_default()
}

/// No answer and nothing to tell.
fn nothing(silence: Silence) -> Outcome {
    Outcome { silence: Some(silence), ..Outcome::default() }
}

#[test]
fn real_firmware_gets_the_form_that_it_needs() {
    let script = "http://10.77.0.2:7480/ipxe/52-54-00-00-00-0";
    for (packet, vendor, file, has_43) in [
        ("ipxe-rom-bios-discover", "PXEClient", format!("{script}3/boot.ipxe\0"), false),
        ("ipxe-snponly-discover", "PXEClient", format!("{script}2/boot.ipxe\0"), false),
        ("ovmf-pxe-discover", "PXEClient", "ipxe/snponly.efi\0".to_owned(), false),
        ("ovmf-http-discover", "HTTPClient", "http://10.77.0.2:7480/artifacts/ipxe/ipxe.efi\0".to_owned(), false),
    ] {
        let sent = captured(packet);
        let outcome = handle(&on_67(), &sent, &image());
        let offer = reply(&outcome);
        assert_eq!(text(option(offer, 60)), vendor, "{packet}");
        assert_eq!(text(option(offer, 67)), file, "{packet}");
        assert_eq!(nul_terminated(&offer[108..236]), file.trim_end_matches('\0').as_bytes(), "{packet}");
        assert_eq!(option(offer, 53), Some(vec![2]), "{packet}");
        assert_eq!(option(offer, 54), Some(SERVER.octets().to_vec()), "{packet}");
        assert_eq!(option(offer, 43).is_some(), has_43, "{packet}");
        assert_eq!(option(offer, 97), option(&sent, 97), "{packet}: UUID echoed");
        assert_eq!(option(offer, 52), None, "{packet}: no overload");
        assert_eq!(offer[..4], [2, 1, 6, 0], "{packet}");
        assert_eq!(offer[4..8], sent[4..8], "{packet}: transaction id");
        assert_eq!(offer[10..12], sent[10..12], "{packet}: flags");
        assert_eq!(offer[16..20], [0; 4], "{packet}: no address is given out");
        assert_eq!(offer[20..24], SERVER.octets(), "{packet}: next server");
        assert_eq!(offer[28..44], sent[28..44], "{packet}: hardware address");
        assert_eq!(codes(&outcome), ["pxe.seen", "pxe.offered"], "{packet}");
        let transmit = outcome.reply.as_ref().unwrap();
        assert_eq!(transmit.source_port, ServerPort::Dhcp);
        assert_eq!(transmit.destination, SocketAddrV4::new(Ipv4Addr::BROADCAST, 68));
    }
}

#[test]
fn plain_bios_gets_the_file_in_the_offer() {
    let outcome = handle(&on_67(), &request(&[DISCOVER, PXE_BIOS, ARCH_BIOS]), &image());
    let offer = reply(&outcome);
    assert_eq!(option(offer, 43), Some(vec![6, 1, 8, 255]));
    assert_eq!(text(option(offer, 67)), "ipxe/undionly.kpxe\0");
    assert_eq!(text(option(offer, 66)), "10.77.0.2");
    assert_eq!(option(offer, 97), None, "absent UUID is accepted and not invented");
    let order: Vec<_> = options(offer).iter().map(|(code, _)| *code).collect();
    assert_eq!(order, [53, 54, 60, 66, 67, 43]);
}

#[test]
fn boot_server_request_is_answered_from_port_4011_to_the_sender() {
    let mut engine = engine();
    engine.handle(NOW, &on_67(), &captured("ovmf-pxe-discover"), &image());
    let outcome = engine.handle(NOW, &on_4011(), &captured("ovmf-pxe-boot-server-request"), &image());
    let ack = reply(&outcome);
    assert_eq!(option(ack, 53), Some(vec![5]));
    assert_eq!(text(option(ack, 67)), "ipxe/snponly.efi\0");
    assert_eq!(option(ack, 43), None);
    let transmit = outcome.reply.as_ref().unwrap();
    assert_eq!(transmit.source_port, ServerPort::BootServer);
    assert_eq!(transmit.destination, on_4011().source);
    assert_eq!(codes(&outcome), ["pxe.asked"]);
}

#[test]
fn requests_to_the_router_are_left_to_the_router_and_teach_the_lease() {
    let mut engine = engine();
    for (discover, lease) in
        [("ipxe-rom-bios-discover", "ipxe-rom-bios-request"), ("ovmf-pxe-discover", "ovmf-pxe-request")]
    {
        engine.handle(NOW, &on_67(), &captured(discover), &image());
        let outcome = engine.handle(NOW, &on_67(), &captured(lease), &image());
        assert_eq!(outcome, nothing(Silence::NotForUs), "{lease}");
    }
    assert_eq!(engine.mac_of([10, 77, 0, 87].into()), Some(BIOS));
    assert_eq!(engine.mac_of([10, 77, 0, 86].into()), Some(UEFI));
}

#[test]
fn our_initrd_gets_the_base_url() {
    let outcome = handle(&on_67(), &request(&[DISCOVER, (60, b"Meadow:1")]), &image());
    let offer = reply(&outcome);
    assert_eq!(text(option(offer, 60)), "Meadow:1");
    assert_eq!(text(option(offer, 67)), "http://10.77.0.2:7480/");
    assert_eq!(offer[16..20], [0; 4], "the lease comes from the router");
}

#[test]
fn a_system_that_runs_finds_the_boot_server_without_a_word_to_the_router() {
    let question = BootServerQuestion { mac: BIOS, address: Ipv4Addr::new(10, 77, 0, 30), xid: 7 };
    assert_eq!(ASKED.port(), on_4011().port.number());
    let asked = question.datagram().expect("a datagram");
    let rx = Receive { source: SocketAddrV4::new(question.address, 40_000), ..on_4011() };
    let outcome = handle(&rx, &asked, &image());
    assert_eq!(outcome.reply.as_ref().expect("a reply").destination, rx.source, "where it came from");
    let told = reply(&outcome).to_vec();
    assert_eq!(question.answer(&told), Some(SocketAddrV4::new(SERVER, 7480)));
    for (why, answer) in [
        ("to another question", BootServerQuestion { xid: 8, ..question }.answer(&told)),
        ("for another machine", BootServerQuestion { mac: UEFI, ..question }.answer(&told)),
        ("the question itself", question.answer(&asked)),
        (
            "another server's",
            question.answer(&told.iter().map(|b| if *b == b'M' { b'N' } else { *b }).collect::<Vec<_>>()),
        ),
    ] {
        assert_eq!(answer, None, "{why}");
    }
    (0..told.len()).for_each(|length| _ = question.answer(&told[..length]));
    assert!(handle(&rx, &asked, &Everyone::gets(BootPolicy::Ignore)).reply.is_none(), "nobody named it");
}

#[test]
fn only_clients_that_want_to_boot_are_answered() {
    let class = |class: &'static [u8]| request(&[DISCOVER, (60, class), ARCH_BIOS]);
    let mut reply_packet = request(&[DISCOVER, PXE_BIOS, ARCH_BIOS]);
    reply_packet[0] = 2;
    let mut group_address = request(&[DISCOVER, PXE_BIOS, ARCH_BIOS]);
    group_address[28] = 3;
    for (name, bytes) in [
        ("an ordinary client", request(&[DISCOVER])),
        ("another vendor class", class(b"MSFT 5.0")),
        ("a later initrd", class(b"Meadow:2")),
        ("PXE without architecture", request(&[DISCOVER, PXE_BIOS])),
        ("no message type", request(&[PXE_BIOS, ARCH_BIOS])),
        ("DHCPDECLINE", request(&[(53, &[4]), PXE_BIOS, ARCH_BIOS])),
        ("a reply", reply_packet),
        ("a group address", group_address),
        ("a lease taken from us by mistake", request(&[(53, &[3]), PXE_BIOS, ARCH_BIOS, (54, &[10, 77, 0, 2])])),
        ("a request that names another server", request(&[(53, &[3]), PXE_BIOS, ARCH_BIOS, (54, &[10, 77, 0, 1])])),
    ] {
        let outcome = handle(&on_67(), &bytes, &image());
        let silence = outcome.silence.expect("a reason");
        assert_eq!(outcome, nothing(silence), "{name}");
        assert!(matches!(silence, Silence::Malformed | Silence::NotForUs), "{name}: {silence:?}");
    }
}

#[test]
fn user_class_of_ipxe_is_read_raw_and_with_its_length() {
    for class in [&b"iPXE"[..], b"\x04iPXE"] {
        let outcome = handle(&on_67(), &request(&[DISCOVER, PXE_BIOS, ARCH_BIOS, (77, class)]), &image());
        assert!(text(option(reply(&outcome), 67)).ends_with("/boot.ipxe\0"));
    }
}

#[test]
fn nobody_is_captured_unasked() {
    let mut engine = engine();
    let ignore = Everyone::gets(BootPolicy::Ignore);
    let discover = captured("ovmf-pxe-discover");
    let outcome = engine.handle(NOW, &on_67(), &discover, &ignore);
    assert!(outcome.reply.is_none());
    assert_eq!(codes(&outcome), ["pxe.seen", "pxe.ignored"]);
    let again = engine.handle(NOW + Duration::from_secs(4), &on_67(), &discover, &ignore);
    assert_eq!(again, nothing(Silence::LeftAlone), "said once");
    assert!(!engine.is_booting(NOW, UEFI), "no router advertisement for it either");
    assert_eq!(engine.machines(NOW).len(), 1, "but it is listed");
}

#[test]
fn policies_differ_by_who_asks() {
    let initrd = request(&[DISCOVER, (60, b"Meadow:1")]);
    let firmware = captured("ovmf-pxe-discover");
    for (policy, firmware_boots, initrd_answered) in [
        (BootPolicy::Ignore, false, false),
        (BootPolicy::LocalDisk, false, true),
        (BootPolicy::Image, true, true),
        (BootPolicy::Hold, true, true),
    ] {
        let everyone = Everyone::gets(policy);
        assert_eq!(handle(&on_67(), &firmware, &everyone).reply.is_some(), firmware_boots, "{policy:?}");
        assert_eq!(handle(&on_67(), &initrd, &everyone).reply.is_some(), initrd_answered, "{policy:?}");
    }
}

#[test]
fn architectures_without_a_loader_are_named_and_left_alone() {
    let pi = {
        let mut bytes = request(&[DISCOVER, PXE_BIOS, ARCH_BIOS]);
        bytes[28..31].copy_from_slice(&[0xdc, 0xa6, 0x32]);
        bytes
    };
    let of_class = |class: &'static [u8], code: u8| request(&[DISCOVER, (60, class), (93, &[0, code])]);
    let arch = |code| of_class(b"PXEClient", code);
    let http = |code| of_class(b"HTTPClient", code);
    for (bytes, part) in [
        (pi, "Raspberry Pi"),
        (arch(6), "32-bit UEFI"),
        (arch(11), "for x86_64 processors and this machine has aarch64"),
        (arch(41), "Raspberry Pi"),
        (arch(99), "USB"),
        // HTTP boot: of IA32, of ARM with 32 bits, of RISC-V, of a Raspberry Pi's ROM.
        (http(15), "32-bit UEFI"),
        (of_class(b"HTTPClient:Arch:00015:UNDI:003001", 15), "32-bit UEFI"),
        (arch(15), "32-bit UEFI"),
        (http(18), "USB"),
        (http(28), "USB"),
        (http(19), "for x86_64 processors and this machine has aarch64"),
        (http(41), "Raspberry Pi"),
    ] {
        let outcome = handle(&on_67(), &bytes, &image());
        assert!(outcome.reply.is_none(), "{part}");
        assert_eq!(outcome.silence, Some(Silence::LeftAlone), "{part}");
        assert_eq!(codes(&outcome), ["pxe.seen", "pxe.ignored"], "{part}");
        let said = outcome.notes.last().unwrap().kind.to_string();
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn nothing_is_offered_that_cannot_be_sent() {
    let policy = Everyone { missing: Some("ipxe/snponly.efi"), ..image() };
    let outcome = handle(&on_67(), &captured("ovmf-pxe-discover"), &policy);
    assert!(outcome.reply.is_none());
    let said = outcome.notes.last().unwrap().kind.to_string();
    assert!(said.contains("ipxe/snponly.efi") && said.contains("make image"), "{said}");
}

#[test]
fn retries_alternate_the_form_and_the_winner_is_remembered() {
    let mut engine = engine();
    let discover = captured("ovmf-pxe-discover");
    let with_43 = |engine: &mut ProxyDhcp, seconds: u64, bytes: &[u8]| {
        let outcome = engine.handle(NOW + Duration::from_secs(seconds), &on_67(), bytes, &image());
        let also = outcome.reply.as_ref().and_then(|reply| reply.also.as_deref());
        (option(reply(&outcome), 43).is_some(), also.map(|also| option(also, 43).is_some()))
    };
    let forms: Vec<_> = (0..4).map(|seconds| with_43(&mut engine, seconds, &discover)).collect();
    assert_eq!(forms, [(false, Some(true)), (false, None), (true, None), (false, None)]);
    engine.file_requested(NOW, UEFI, "ipxe/snponly.efi");
    let mut next_boot = discover;
    next_boot[4..8].copy_from_slice(&[9; 4]);
    assert_eq!(with_43(&mut engine, 4, &next_boot), (true, None), "it came for the form with option 43");
    assert_eq!(engine.machines(NOW)[0].form, Some(OfferForm::Direct));
}

#[test]
fn what_one_firmware_took_says_nothing_of_another_in_the_same_machine() {
    let mut engine = engine();
    let discover = |code: u8| request(&[DISCOVER, (60, b"PXEClient"), (93, &[0, code])]);
    let bios = engine.handle(NOW, &on_67(), &discover(0), &image());
    assert!(option(reply(&bios), 43).is_some());
    engine.file_requested(NOW, MacAddress([2, 0, 0, 0, 0, 9]), "ipxe/undionly.kpxe");
    let mut uefi = discover(7);
    uefi[4..8].copy_from_slice(&[9; 4]);
    let uefi = engine.handle(NOW, &on_67(), &uefi, &image());
    assert_eq!(option(reply(&uefi), 43), None, "the setup was changed from legacy boot to UEFI");
}

#[test]
fn later_programs_do_not_hide_the_firmware_and_what_it_took() {
    let mut engine = engine();
    engine.handle(NOW, &on_67(), &captured("ovmf-pxe-discover"), &image());
    engine.handle(NOW, &on_4011(), &captured("ovmf-pxe-boot-server-request"), &image());
    let mut initrd = request(&[DISCOVER, (60, b"Meadow:1")]);
    initrd[28..34].copy_from_slice(&UEFI.0);
    engine.handle(NOW, &on_67(), &captured("ipxe-snponly-discover"), &image());
    engine.handle(NOW, &on_67(), &initrd, &image());
    let machine = &engine.machines(NOW)[0];
    assert_eq!(machine.firmware, Some(Firmware::UefiX64));
    assert_eq!(machine.form, Some(OfferForm::BootServer));
    assert!(!machine.booting, "the initrd is no PXE stage");
}

#[test]
fn boot_items_are_asked_for_on_port_67_too() {
    let item: (u8, &[u8]) = (43, &[71, 4, 0, 0, 0, 0, 255]);
    let bytes = request(&[(53, &[3]), PXE_BIOS, ARCH_BIOS, item]);
    let outcome = handle(&on_67(), &bytes, &image());
    assert_eq!(option(reply(&outcome), 53), Some(vec![5]));
}

#[test]
fn ipxe_treated_as_plain_pxe_gets_the_loader_then_the_script() {
    let mut engine = engine();
    let policy = Everyone { decision: BootDecision { policy: BootPolicy::Image, plain_pxe: true }, ..image() };
    let discover = captured("ipxe-rom-bios-discover");
    let offer =
        |engine: &mut ProxyDhcp, now| text(option(reply(&engine.handle(now, &on_67(), &discover, &policy)), 67));
    assert_eq!(offer(&mut engine, NOW), "ipxe/undionly.kpxe\0");
    assert_eq!(offer(&mut engine, NOW), "ipxe/undionly.kpxe\0", "a retry is still the ROM");
    engine.file_requested(NOW, BIOS, "ipxe/undionly.kpxe");
    assert!(offer(&mut engine, NOW).ends_with("/boot.ipxe\0"));
    engine.script_requested(NOW, BIOS, None);
    assert_eq!(offer(&mut engine, NOW), "ipxe/undionly.kpxe\0", "the next power-on begins with the ROM");
    engine.file_requested(NOW, BIOS, "ipxe/undionly.kpxe");
    let later = NOW + Duration::from_secs(121);
    assert_eq!(offer(&mut engine, later), "ipxe/undionly.kpxe\0", "the loader never came up");
}

#[test]
fn pxe_stage_begins_with_our_answer_and_ends_with_the_initrd() {
    let mut engine = engine();
    assert!(!engine.is_booting(NOW, BIOS));
    engine.handle(NOW, &on_67(), &captured("ipxe-rom-bios-discover"), &image());
    assert!(engine.is_booting(NOW + Duration::from_secs(89), BIOS));
    assert!(!engine.is_booting(NOW + Duration::from_secs(90), BIOS));
    engine.initrd_started(NOW, BIOS, None);
    assert!(!engine.is_booting(NOW, BIOS));
}

#[test]
fn relays_are_answered_where_they_wrote_in_and_get_their_option_back() {
    // RFC 3046, 2.2: the option whole and last, whoever sent it. RFC 2131, 4.1: to the address in giaddr.
    let info = [1, 4, 7, 7, 7, 7, 2, 2, 9, 9];
    let relayed = |giaddr: [u8; 4], client: u8| {
        let mut bytes = request(&[DISCOVER, PXE_BIOS, ARCH_BIOS, (82, &info), (97, &[0; 17])]);
        bytes[24..28].copy_from_slice(&giaddr);
        bytes[33] = client;
        bytes
    };
    let from = |source: [u8; 4]| Receive { source: SocketAddrV4::new(source.into(), 67), ..on_67() };
    // Many relays send from the address nearest to the server.
    for source in [[10, 78, 0, 1], [10, 77, 0, 5], [0; 4]] {
        let mut engine = engine();
        let reply = engine.handle(NOW, &from(source), &relayed([10, 78, 0, 1], 9), &image()).reply.expect("an offer");
        assert_eq!(reply.destination, SocketAddrV4::new([10, 78, 0, 1].into(), 67), "{source:?}");
        assert_eq!(options(&reply.payload).last(), Some(&(82, info.to_vec())));
        assert_eq!(reply.payload[24..28], [10, 78, 0, 1]);
        assert_eq!(reply.payload[10], 0x80, "without an address for the client a relay can only broadcast it");
        assert_eq!(engine.machines(NOW).len(), 1, "and the machine is listed");
    }
    for giaddr in [SERVER.octets(), [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]] {
        let outcome = handle(&from([10, 77, 0, 5]), &relayed(giaddr, 9), &image());
        assert_eq!(outcome, nothing(Silence::NotForUs), "{giaddr:?}");
    }
}

#[test]
fn what_a_forged_relay_can_make_us_send_is_bounded() {
    let mut engine = engine();
    let mut bytes = request(&[DISCOVER, PXE_BIOS, ARCH_BIOS]);
    bytes[24..28].copy_from_slice(&[203, 0, 113, 9]);
    let forged = Receive { source: SocketAddrV4::new([10, 77, 0, 66].into(), 67), ..on_67() };
    let mut sent = |seconds| {
        let outcomes = (0..2000).map(|_| engine.handle(NOW + Duration::from_secs(seconds), &forged, &bytes, &image()));
        let (answered, silent): (Vec<_>, Vec<_>) = outcomes.partition(|outcome| outcome.reply.is_some());
        assert!(silent.iter().all(|outcome| *outcome == nothing(Silence::TooMany)));
        assert!(answered.iter().all(|outcome| reply(outcome).len() <= 548), "and no larger than any offer");
        answered.len()
    };
    assert_eq!((sent(0), sent(1)), (512, 128));
    // A relay that shows where it is, and machines of this wire, do not pay for it.
    let honest = Receive { source: SocketAddrV4::new([203, 0, 113, 9].into(), 67), ..on_67() };
    assert!(engine.handle(NOW, &honest, &bytes, &image()).reply.is_some());
    assert!(engine.handle(NOW, &on_67(), &request(&[DISCOVER, PXE_BIOS, ARCH_BIOS]), &image()).reply.is_some());
}

#[test]
fn a_request_from_beyond_the_link_is_no_broadcast_on_it() {
    let discover = request(&[DISCOVER, PXE_BIOS, ARCH_BIOS]);
    let source = SocketAddrV4::new([203, 0, 113, 9].into(), 68);
    let far = Receive { source, is_far: true, ..on_67() };
    for bytes in [discover.clone(), captured("ovmf-pxe-discover")] {
        assert_eq!(handle(&far, &bytes, &image()), nothing(Silence::NotForUs));
    }
    // A client that keeps its address, and one that has none yet.
    let near = Receive { is_far: false, ..far };
    for rx in [near, on_67()] {
        assert!(handle(&rx, &discover, &image()).reply.is_some());
    }
    let mut relayed = discover;
    relayed[24..28].copy_from_slice(&source.ip().octets());
    assert!(handle(&far, &relayed, &image()).reply.is_some(), "a relay is far by its nature");
}

#[test]
fn two_machines_with_one_mac_are_told_apart() {
    let mut engine = engine();
    let with_uuid = |uuid: u8| {
        let mut id = [uuid; 17];
        id[0] = 0;
        request(&[DISCOVER, PXE_BIOS, ARCH_BIOS, (97, &id)])
    };
    for (uuid, conflict) in [(0x11, false), (0x11, false), (0xff, false), (0x22, true)] {
        let outcome = engine.handle(NOW, &on_67(), &with_uuid(uuid), &image());
        assert_eq!(codes(&outcome).contains(&"pxe.conflict"), conflict, "{uuid:x}");
    }
}
