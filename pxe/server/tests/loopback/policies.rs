//! What machines get by their policies.

use std::net::UdpSocket;
use std::time::Duration;

use meadow_model::boot::BootPolicy;

use crate::rig::*;

#[tokio::test]
async fn machines_get_what_their_policy_says() {
    let rig = Rig::start(|_| {}).await;
    let kernel = |card: &str| {
        let url = format!("http://127.0.0.1:{}/artifacts/vmlinuz", rig.ports.http);
        format!("\nkernel {url} initrd=initrd quiet loglevel=3 lsm=landlock BOOTIF=01-{card} || goto failed\n")
    };
    assert!(rig.script(KNOWN).await.contains(&kernel("52-54-00-00-00-01")));
    // With arguments of its own, it is held in the initramfs of the image.
    let held = kernel("52-54-00-00-00-03").replace(" BOOTIF", " nomodeset BOOTIF");
    assert!(rig.script(HELD).await.contains(&held), "{held}");
    let script = rig.script(OWN_DISK).await;
    assert!(script.ends_with("\nexit\n") && !script.contains("kernel"), "{script}");
    for (mac, action) in [(KNOWN, "boot"), (HELD, "hold"), (OWN_DISK, "local")] {
        assert_eq!(rig.action(mac).await, action, "{mac}");
    }
    for path in ["/ipxe/52-54-00-00-00-02/boot.ipxe", "/machine/52-54-00-00-00-02/boot.json", "/etc/passwd"] {
        let (head, body) = rig.get(path, "").await;
        assert!(head.starts_with("HTTP/1.1 404"), "{path}: {head}");
        assert!(!body.is_empty(), "{path}: a 404 says why");
    }
    rig.server.stop().await;
}

#[tokio::test]
async fn another_system_boots_by_its_own_script_and_files() {
    let rig = Rig::start(|_| {}).await;
    rig.director.set(OWN_DISK, BootPolicy::Script);
    let files = format!("http://127.0.0.1:{}/files", rig.ports.http);
    let script = rig.script(OWN_DISK).await;
    assert_eq!(script, format!("#!ipxe\nset files {files}\nkernel ${{files}}/debian/linux\nboot\n"));
    let (head, body) = rig.get("/files/debian/linux", "Range: bytes=8-\r\n").await;
    assert!(head.starts_with("HTTP/1.1 206") && body == b"kernel", "{head}");
    for path in ["/files/debian", "/files/none", "/files/../initrd"] {
        assert!(rig.get(path, "").await.0.starts_with("HTTP/1.1 404"), "{path}");
    }
    rig.server.stop().await;
}

#[tokio::test]
async fn a_held_machine_goes_on_when_its_policy_changes() {
    let rig = Rig::start(|_| {}).await;
    assert_eq!(rig.action(HELD).await, "hold");
    rig.director.set(HELD, BootPolicy::Image);
    assert_eq!(rig.action(HELD).await, "boot");
    rig.director.set(HELD, BootPolicy::LocalDisk);
    assert_eq!(rig.action(HELD).await, "local");
    assert!(rig.script(HELD).await.ends_with("\nexit\n"));
    rig.server.stop().await;
}

#[tokio::test]
async fn firmware_of_held_machines_is_answered_and_of_local_disk_ones_left_alone() {
    let rig = Rig::start(|_| {}).await;
    let port = rig.ports.boot_server;
    let answers = blocking(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // In this order: an answer to the first two would come before the third's.
        for mac in [OWN_DISK, machine(2), HELD, KNOWN] {
            socket.send_to(&boot_server_request(mac), ("127.0.0.1", port)).unwrap();
        }
        [(); 2].map(|()| {
            let mut buffer = [0; 1500];
            let (length, _) = socket.recv_from(&mut buffer).unwrap();
            buffer[..length].to_vec()
        })
    })
    .await;
    for (answer, mac) in answers.iter().zip([HELD, KNOWN]) {
        assert_eq!(answer[28..34], mac.0);
        assert!(answer.windows(17).any(|part| part == b"ipxe/snponly.efi\0"), "{mac}");
    }
    rig.wait_for_event("pxe.ignored", "its policy is to boot from its own disk").await;
    rig.wait_for_event("pxe.ignored", "nobody named this machine").await;
    let codes = |mac| rig.server.events(Some(mac), 0).into_iter().map(|event| event.code).collect::<Vec<_>>();
    assert_eq!(codes(OWN_DISK), ["pxe.seen", "pxe.ignored"]);
    assert_eq!(codes(HELD), ["pxe.seen", "pxe.asked"]);
    rig.server.stop().await;
}
