//! Habits of real firmware, each played packet by packet: what it drops, what it takes and what it asks next.

#[path = "support/leases.rs"]
#[allow(missing_docs, unreachable_pub, dead_code, reason = "helpers of the tests in this folder")]
mod leases;
#[path = "support/packets.rs"]
#[allow(dead_code, reason = "helpers of the tests in this folder")]
mod packets;

use std::iter;
use std::net::{Ipv4Addr, SocketAddrV4};

use leases::{Client, Server, from, kind, mac, pool, yiaddr};
use meadow_model::boot::BootPolicy;
use meadow_netboot::dhcp::{Receive, ServerPort, Transmit};
use meadow_netboot::event::OfferForm;
use packets::{SERVER, on_67, on_4011, option, options};

const BIOS: (u8, &[u8]) = (60, b"PXEClient:Arch:00000:UNDI:002001");
const UEFI: (u8, &[u8]) = (60, b"PXEClient:Arch:00007:UNDI:003016");
const X64: (u8, &[u8]) = (93, &[0, 7]);

/// Who gives out addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Site {
    /// The home router; we are a proxy beside it.
    Router,
    /// We ourselves.
    Full,
}

/// What we reply at a site.
fn ask(server: &mut Server, site: Site, rx: &Receive, bytes: &[u8]) -> Option<Transmit> {
    match site {
        Site::Full if rx.port == ServerPort::Dhcp => server.handle(rx, bytes).reply,
        _ => server.boot.handle(server.now, rx, bytes, &server.policy).reply,
    }
}

/// EDK2's PXE base code, as far as it decides what is taken.
struct Edk2 {
    client: Client,
    /// Before April 2017 (8cdd559be6) it dropped every proxy offer with sub-options 6 to 10 of option 43.
    is_old: bool,
}

/// How a machine came to its file.
#[derive(Debug, PartialEq, Eq)]
struct Booted {
    discovers: usize,
    /// Whether it asked port 4011, whose answer EDK2 holds back for a second.
    asked_4011: bool,
    file: String,
}

impl Edk2 {
    fn new(is_old: bool) -> Self {
        Self { client: Client::with(7, &[UEFI, X64, (97, &[0; 17])]), is_old }
    }

    /// Boots: four DISCOVERs of one transaction, then either the file of an offer or the one that port 4011 names.
    fn boot(&self, server: &mut Server, site: Site) -> Option<Booted> {
        for (discovers, pause) in (1..).zip([4, 8, 16, 32]) {
            let offers = ask(server, site, &on_67(), &self.client.discover())?;
            if let Some((file, asked_4011)) = self.take(server, site, &offers) {
                server.boot.file_requested(server.now, mac(7), &file);
                return Some(Booted { discovers, asked_4011, file });
            }
            server.pass(pause);
        }
        None
    }

    /// The file, and whether port 4011 was asked for it. An offer with option 43 is preferred (`PxeBcSelectDhcp4Offer`).
    fn take(&self, server: &mut Server, site: Site, offers: &Transmit) -> Option<(String, bool)> {
        let all = iter::once(&offers.payload).chain(&offers.also);
        let usable = all.filter(|offer| {
            assert_eq!(option(offer, 60).as_deref(), Some(&b"PXEClient"[..]), "compared in nine bytes");
            !(self.is_old && yiaddr(offer).is_unspecified() && is_pxe10(offer))
        });
        let offer = usable.max_by_key(|offer| is_pxe10(offer))?;
        let address = match site {
            Site::Router => pool(50),
            Site::Full => {
                let ack = ask(server, site, &on_67(), &self.client.select(yiaddr(offer)))?.payload;
                assert_eq!((kind(&ack), yiaddr(&ack)), (5, yiaddr(offer)));
                yiaddr(&ack)
            }
        };
        if is_pxe10(offer) {
            return Some((file(offer), false));
        }
        // BINL: it asks the next server, or the one of option 54, from port 4011 and with an address.
        assert_eq!(offer[20..24], SERVER.octets());
        let rx = Receive { source: SocketAddrV4::new(address, 4011), ..on_4011() };
        let reply = ask(server, site, &rx, &self.client.message(3, address, &[]))?;
        assert_eq!((reply.source_port, reply.destination), (ServerPort::BootServer, rx.source));
        assert_eq!(kind(&reply.payload), 5);
        Some((file(&reply.payload), true))
    }
}

fn is_pxe10(offer: &[u8]) -> bool {
    option(offer, 43).is_some_and(|value| matches!(value[0], 6..=10))
}

/// The file name, with the NUL that EDK2 writes behind option 67.
fn file(reply: &[u8]) -> String {
    let name = option(reply, 67).expect("option 67");
    let (nul, name) = name.split_last().expect("not empty");
    assert_eq!(*nul, 0);
    String::from_utf8(name.to_vec()).expect("text")
}

/// Both at their first DISCOVER, and at each boot; what asks port 4011 loses a second there, so only what drops the other
/// form does. Where the offer is the lease as well, nothing drops it.
#[test]
fn edk2_of_before_and_after_april_2017_boots_at_its_first_discover() {
    for (site, is_old) in [(Site::Router, true), (Site::Router, false), (Site::Full, true), (Site::Full, false)] {
        let mut server = Server::new(BootPolicy::Image);
        for boot in 1..=2 {
            let booted = Edk2::new(is_old).boot(&mut server, site);
            let asked_4011 = is_old && site == Site::Router;
            let expected = Booted { discovers: 1, asked_4011, file: "ipxe/snponly.efi".to_owned() };
            assert_eq!(booted, Some(expected), "{site:?}, old: {is_old}, boot {boot}");
            let form = if asked_4011 { OfferForm::BootServer } else { OfferForm::Direct };
            assert_eq!(server.boot.machines(server.now)[0].form, Some(form), "{site:?}, old: {is_old}");
            server.pass(300);
        }
    }
}

/// The forms that UEFI is offered at one DISCOVER: with option 43 or without.
fn forms(server: &mut Server, site: Site, rx: &Receive, discover: &[u8]) -> Vec<bool> {
    let offers = ask(server, site, rx, discover).expect("an offer");
    iter::once(&offers.payload).chain(&offers.also).map(|offer| option(offer, 43).is_some()).collect()
}

/// A UEFI that takes neither of two offers gets one of each at its retries, and what it came for at once from then on.
#[test]
fn firmware_that_took_no_offer_gets_another_form_at_each_retry() {
    let (first, second) = (vec![false], vec![true]);
    let both = vec![false, true];
    for (site, expected) in [(Site::Router, [&both, &first, &second]), (Site::Full, [&second, &first, &second])] {
        let mut server = Server::new(BootPolicy::Image);
        let client = Client::with(7, &[UEFI, X64]);
        let offered = |server: &mut Server, xid: u8| {
            server.pass(4);
            let mut bytes = client.discover();
            bytes[4] = xid;
            forms(server, site, &on_67(), &bytes)
        };
        for expected in expected {
            assert_eq!(&offered(&mut server, 1), expected, "{site:?}");
        }
        server.boot.file_requested(server.now, mac(7), "ipxe/snponly.efi");
        assert_eq!(offered(&mut server, 2), second, "{site:?}: remembered");
        assert_eq!(server.boot.machines(server.now)[0].form, Some(OfferForm::Direct));
    }
}

/// Whoever forges a request by a relay chooses where the answer goes: it is one, and no larger for that.
#[test]
fn uefi_behind_a_relay_gets_one_offer_and_the_other_form_at_its_retry() {
    let mut server = Server::new(BootPolicy::Image);
    let relay = Ipv4Addr::new(10, 9, 0, 1);
    let mut discover = Client::with(7, &[UEFI, X64]).discover();
    discover[24..28].copy_from_slice(&relay.octets());
    for with_43 in [false, true] {
        assert_eq!(forms(&mut server, Site::Router, &from(relay, 67), &discover), [with_43]);
        server.pass(4);
    }
}

/// netboot#132: some BIOS ROMs ask port 4011 although the offer has the file, by REQUEST or INFORM.
#[test]
fn a_bios_that_asks_port_4011_all_the_same_is_answered() {
    for kind_of_request in [3, 8] {
        let mut server = Server::new(BootPolicy::Image);
        let client = Client::with(7, &[BIOS, (93, &[0, 0])]);
        ask(&mut server, Site::Router, &on_67(), &client.discover()).expect("an offer");
        let bytes = client.message(kind_of_request, pool(50), &[]);
        let reply = ask(&mut server, Site::Router, &on_4011(), &bytes).expect("an answer");
        assert_eq!((kind(&reply.payload), file(&reply.payload)), (5, "ipxe/undionly.kpxe".to_owned()));
    }
}

/// iPXE takes a proxy's offer at once only with next server and file both in it, and from port 67.
#[test]
fn ipxe_finds_next_server_and_script_in_the_offer() {
    for site in [Site::Router, Site::Full] {
        let mut server = Server::new(BootPolicy::Image);
        let client = Client::with(7, &[BIOS, (93, &[0, 0]), (77, b"iPXE"), (175, &[1, 1, 1])]);
        let offer = ask(&mut server, site, &on_67(), &client.discover()).expect("an offer");
        assert_eq!(offer.source_port, ServerPort::Dhcp);
        assert_eq!(offer.payload[20..24], SERVER.octets());
        assert!(file(&offer.payload).ends_with("/boot.ipxe"));
        assert_ne!(offer.payload[108], 0, "and in the header");
    }
}

/// HTTP boot wants an absolute URL with an address in it, so that it needs no name server, and one file type.
#[test]
fn uefi_http_boot_gets_an_absolute_url_that_needs_no_name_server() {
    for site in [Site::Router, Site::Full] {
        let mut server = Server::new(BootPolicy::Image);
        let client = Client::with(7, &[(60, b"HTTPClient:Arch:00016:UNDI:003001"), (93, &[0, 16])]);
        let offer = ask(&mut server, site, &on_67(), &client.discover()).expect("an offer").payload;
        assert_eq!(option(&offer, 60).as_deref(), Some(&b"HTTPClient"[..]));
        let url = file(&offer);
        assert!(url.starts_with(&format!("http://{SERVER}:")) && url.ends_with(".efi") && !url.contains('?'), "{url}");
    }
}

/// A Raspberry Pi's boot ROM says "BIOS", sends no option 60 in its REQUEST, and is no PXE: it gets an address as any
/// other client does, and no file that it could not run.
#[test]
fn a_raspberry_pi_gets_an_address_and_no_boot_file() {
    let mut server = Server::new(BootPolicy::Image);
    let mut pi = Client::with(7, &[BIOS, (93, &[0, 0])]);
    pi.mac.0[..3].copy_from_slice(&[0xdc, 0xa6, 0x32]);
    assert!(ask(&mut server, Site::Router, &on_67(), &pi.discover()).is_none(), "left alone beside the router");
    let offer = ask(&mut server, Site::Full, &on_67(), &pi.discover()).expect("an offer").payload;
    assert_eq!((option(&offer, 60), option(&offer, 67)), (None, None));
    let plain = Client { mac: pi.mac, more: vec![] };
    let ack = ask(&mut server, Site::Full, &on_67(), &plain.select(yiaddr(&offer))).expect("an answer").payload;
    assert_eq!((kind(&ack), yiaddr(&ack)), (5, yiaddr(&offer)));
}

/// Firmware for 32 bits, for which there is no loader, is told nothing that would break it.
#[test]
fn firmware_without_a_loader_gets_an_address_and_no_boot_file() {
    for (class, arch) in [(&b"PXEClient:Arch:00006"[..], 6), (b"HTTPClient:Arch:00015", 15)] {
        let mut server = Server::new(BootPolicy::Image);
        let client = Client::with(7, &[(60, class), (93, &[0, arch])]);
        let offer = ask(&mut server, Site::Full, &on_67(), &client.discover()).expect("an offer").payload;
        assert_eq!((yiaddr(&offer), option(&offer, 67)), (pool(10), None), "{arch}");
    }
}

/// ARM64 firmware (11 by PXE, 19 by HTTP) gets a boot loader of its own for any other system, and nothing of an image that
/// it could not run.
#[test]
fn arm64_gets_its_own_loader_for_a_script_and_nothing_of_the_image() {
    for (class, arch) in [(&b"PXEClient:Arch:00011:UNDI:003000"[..], 11), (b"HTTPClient:Arch:00019:UNDI:003000", 19)] {
        let client = Client::with(7, &[(60, class), (93, &[0, arch])]);
        for (policy, loader) in [(BootPolicy::Script, Some("ipxe/ipxe-arm64.efi")), (BootPolicy::Image, None)] {
            let offer = ask(&mut Server::new(policy), Site::Router, &on_67(), &client.discover());
            let named = offer.map(|offer| file(&offer.payload));
            assert_eq!(named.is_some(), loader.is_some(), "{arch} {policy:?}");
            let named = named.unwrap_or_default();
            assert!(named.ends_with(loader.unwrap_or_default()), "{named}");
            assert_eq!(named.starts_with("http://"), arch == 19 && loader.is_some(), "{named}");
        }
    }
}

/// An image for other processors than the machine's: its firmware is told nothing, and people are told why.
#[test]
fn an_image_for_other_processors_is_not_offered_and_said() {
    let x64: [(&[u8], u8); 4] = [(b"PXEClient", 0), (b"PXEClient", 7), (b"HTTPClient", 16), (b"HTTPClient", 20)];
    let arm64: [(&[u8], u8); 2] = [(b"PXEClient", 11), (b"HTTPClient", 19)];
    for (firmware, own, other) in [(&x64[..], "x86_64", "aarch64"), (&arm64[..], "aarch64", "x86_64")] {
        for (class, arch) in firmware {
            for policy in [BootPolicy::Image, BootPolicy::Hold] {
                let client = Client::with(7, &[(60, class), (93, &[0, *arch])]);
                let mut server = Server::new(policy);
                server.policy.architecture = Some(own);
                assert!(ask(&mut server, Site::Router, &on_67(), &client.discover()).is_some(), "{arch} {policy:?}");
                let mut server = Server::new(policy);
                server.policy.architecture = Some(other);
                let outcome = server.boot.handle(server.now, &on_67(), &client.discover(), &server.policy);
                assert!(outcome.reply.is_none(), "{arch} {policy:?}");
                let said = outcome.notes.last().expect("a reason").kind.to_string();
                let words = format!("for {other} processors and this machine has {own} ones");
                assert!(said.contains(&words) && said.contains("meadow machine boot"), "{said}");
            }
        }
    }
}

/// HTTP boot of a BIOS (20) wants a URL too, of what a BIOS can start.
#[test]
fn bios_http_boot_gets_the_url_of_a_bios_loader() {
    for site in [Site::Router, Site::Full] {
        let mut server = Server::new(BootPolicy::Image);
        let client = Client::with(7, &[(60, b"HTTPClient:Arch:00020:UNDI:002001"), (93, &[0, 20])]);
        let offer = ask(&mut server, site, &on_67(), &client.discover()).expect("an offer").payload;
        assert_eq!(option(&offer, 60).as_deref(), Some(&b"HTTPClient"[..]));
        let url = file(&offer);
        assert!(url.starts_with(&format!("http://{SERVER}:")) && url.ends_with("/ipxe/undionly.kpxe"), "{url}");
    }
}

/// Cheap boards have no UUID, or all share one: it is echoed and never tells two machines apart.
#[test]
fn a_uuid_is_echoed_if_it_was_sent_and_never_needed() {
    for site in [Site::Router, Site::Full] {
        for uuid in [None, Some([0xff; 17]), Some([0; 17])] {
            let mut server = Server::new(BootPolicy::Image);
            let mut more = vec![UEFI, X64];
            more.extend(uuid.as_ref().map(|uuid| (97, &uuid[..])));
            let offer = ask(&mut server, site, &on_67(), &Client::with(7, &more).discover()).expect("an offer").payload;
            assert_eq!(option(&offer, 97), uuid.map(|uuid| uuid.to_vec()), "{site:?}");
        }
    }
}

/// Option 93 is a list, and some firmware names one that we cannot serve before one that we can.
#[test]
fn all_of_the_architectures_are_read() {
    let mut server = Server::new(BootPolicy::Image);
    for list in [&[0, 6, 0, 7][..], &[0, 7, 0, 6], &[0, 9], &[0, 6, 0, 9]] {
        let client = Client::with(7, &[UEFI, (93, list)]);
        let offer = ask(&mut server, Site::Router, &on_67(), &client.discover()).expect("an offer").payload;
        assert_eq!(option(&offer, 67).as_deref(), Some(&b"ipxe/snponly.efi\0"[..]), "{list:?}");
    }
}

/// Old ROMs take 548 bytes of DHCP at most, EDK2 ignores the file where options overflow into it, and a Pi stumbles over
/// padding between options: `options` fails on it.
#[test]
fn replies_are_short_without_overload_and_without_padding_between_options() {
    for site in [Site::Router, Site::Full] {
        for arch in [0, 7, 9, 11, 16, 19, 20] {
            let mut server = Server::new(BootPolicy::Image);
            let class: &[u8] = if arch < 15 { b"PXEClient" } else { b"HTTPClient" };
            let client = Client::with(7, &[(60, class), (93, &[0, arch]), (97, &[0; 17]), (61, &[0; 17])]);
            let Some(offer) = ask(&mut server, site, &on_67(), &client.discover()) else { continue };
            assert!((300..=548).contains(&offer.payload.len()), "{site:?} {arch}");
            let codes: Vec<u8> = options(&offer.payload).iter().map(|(code, _)| *code).collect();
            assert_eq!(codes[..2], [53, 54], "{site:?} {arch}");
            assert!(!codes.contains(&52), "{site:?} {arch}");
        }
    }
}

/// The router's own clients, beside us, and ours are told nothing of PXE: some would take it for an order.
#[test]
fn ordinary_clients_hear_nothing_of_pxe() {
    let mut server = Server::new(BootPolicy::Image);
    let client = Client::with(7, &[(60, b"MSFT 5.0"), (57, &[2, 64])]);
    assert!(ask(&mut server, Site::Router, &on_67(), &client.discover()).is_none());
    let offer = ask(&mut server, Site::Full, &on_67(), &client.discover()).expect("an offer").payload;
    assert!([43, 60, 66, 67, 97].iter().all(|code| option(&offer, *code).is_none()));
    assert_eq!(offer[20..24], [0; 4], "no next server");
}

/// A proxy never refuses: a refusal would take the router's lease from a machine.
#[test]
fn a_proxy_refuses_nothing_and_full_dhcp_refuses_only_what_is_wrong() {
    let mut server = Server::new(BootPolicy::Image);
    let elsewhere = Ipv4Addr::new(192, 168, 7, 7);
    for bytes in [Client::with(7, &[UEFI, X64]).reboot(elsewhere), Client::with(7, &[UEFI, X64]).renew(elsewhere)] {
        assert!(ask(&mut server, Site::Router, &from(elsewhere, 68), &bytes).is_none());
        let refusal = ask(&mut server, Site::Full, &on_67(), &bytes).expect("a refusal");
        assert_eq!((kind(&refusal.payload), *refusal.destination.ip()), (6, Ipv4Addr::BROADCAST));
    }
}

/// Firmware asks the server of option 54 next: it must be the address of the interface that heard it.
#[test]
fn the_server_is_named_by_its_address_on_the_receiving_interface() {
    for address in [SERVER, Ipv4Addr::new(10, 77, 0, 3)] {
        for (rx, message) in [(on_67(), 1), (on_4011(), 3)] {
            let rx = Receive { address, ..rx };
            let mut server = Server::new(BootPolicy::Image);
            let client = Client::with(7, &[UEFI, X64]).message(message, Ipv4Addr::UNSPECIFIED, &[]);
            let reply = ask(&mut server, Site::Router, &rx, &client).expect("a reply").payload;
            assert_eq!(option(&reply, 54), Some(address.octets().to_vec()));
            assert_eq!(reply[20..24], address.octets(), "the next server as well");
        }
    }
}

/// A Raspberry Pi in rpiboot mode (41), or one that says it is a BIOS: neither boots by PXE, and it is told why in the
/// log instead of being given a file of another computer.
#[test]
fn a_raspberry_pi_is_named_and_given_nothing() {
    let mut server = Server::new(BootPolicy::Image);
    let mut says_bios = Client::with(7, &[BIOS, (93, &[0, 0])]);
    says_bios.mac.0[..3].copy_from_slice(&[0xdc, 0xa6, 0x32]);
    for client in [Client::with(7, &[BIOS, (93, &[0, 41])]), says_bios] {
        let outcome = server.boot.handle(server.now, &on_67(), &client.discover(), &server.policy);
        assert!(outcome.reply.is_none());
        let said = outcome.notes.last().expect("a reason").kind.to_string();
        assert!(said.contains("Raspberry Pi"), "{said}");
    }
}

/// The router's lease came late, so that EDK2 sent a second DISCOVER and heard other forms; it took one of the first.
/// What was offered later must not count as the winner, or an EDK2 loses seconds at each boot from then on.
#[test]
fn the_form_that_was_taken_wins_though_another_was_offered_after_it() {
    for (is_old, taken) in [(true, OfferForm::BootServer), (false, OfferForm::Direct)] {
        let mut server = Server::new(BootPolicy::Image);
        let edk2 = Edk2::new(is_old);
        let first = ask(&mut server, Site::Router, &on_67(), &edk2.client.discover()).expect("an offer");
        server.pass(4);
        let second = ask(&mut server, Site::Router, &on_67(), &edk2.client.discover()).expect("an offer");
        assert_ne!(first, second);
        let (file, _) = edk2.take(&mut server, Site::Router, &first).expect("taken");
        server.boot.file_requested(server.now, mac(7), &file);
        assert_eq!(server.boot.machines(server.now)[0].form, Some(taken));
        server.pass(300);
        assert_eq!(edk2.boot(&mut server, Site::Router).expect("its next boot").discovers, 1);
    }
}

/// Some boot ROMs use one transaction number for ever: a retry within seconds gets another form, a new power-on begins
/// again with the first.
#[test]
fn a_rom_with_a_constant_number_begins_anew_at_its_next_power_on() {
    let mut server = Server::new(BootPolicy::Image);
    let discover = Client::with(7, &[UEFI, X64]).discover();
    let offered = |server: &mut Server| forms(server, Site::Router, &on_67(), &discover);
    assert_eq!(offered(&mut server), [false, true]);
    server.pass(16);
    assert_eq!(offered(&mut server), [false], "a retry");
    server.pass(45);
    assert_eq!(offered(&mut server), [false, true], "switched off and on");
}
