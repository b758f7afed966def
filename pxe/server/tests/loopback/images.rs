//! Another image for one machine.

use std::net::UdpSocket;

use meadow_pxe::netboot::BootImage;

use crate::rig::*;

impl Rig {
    /// Adopts an image with this kernel, initrd and root, as the agent's store of images lays it down; its digest.
    fn adopt(&self, version: &str, root: &[u8]) -> String {
        self.adopt_for(version, "x86_64", root)
    }

    /// The same for other processors.
    fn adopt_for(&self, version: &str, architecture: &str, root: &[u8]) -> String {
        let new = self.folder.path().join("images/new");
        let files = [("vmlinuz", &b"other kernel"[..]), ("initrd", b"other initrd"), ("root.img", root)];
        let digest = write_image(&new, version, architecture, &files);
        std::fs::rename(new, self.folder.path().join("images").join(&digest)).unwrap();
        digest
    }

    /// The machine's firmware speaks, so that the server has it in mind.
    fn power_on(&self, mac: meadow_model::MacAddress) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&boot_server_request(mac), ("127.0.0.1", self.ports.boot_server)).unwrap();
    }

    /// What is served under a path.
    async fn body(&self, path: &str) -> Vec<u8> {
        let (head, body) = self.get(path, "").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        body
    }

    /// The image that a machine was given, as displays show it.
    fn image_of(&self, mac: meadow_model::MacAddress) -> Option<BootImage> {
        self.server.machines().into_iter().find(|machine| machine.mac == mac).expect("seen").image
    }
}

#[tokio::test]
async fn a_machine_boots_kernel_initrd_and_root_of_the_image_it_was_given() {
    let rig = Rig::start(|_| {}).await;
    let digest = rig.adopt("2", b"other root");
    let files = format!("/images/{digest}");
    assert!(rig.get(&format!("{files}/vmlinuz"), "").await.0.starts_with("HTTP/1.1 404"), "nobody boots it yet");
    rig.director.give_image(KNOWN, Some(&digest));
    rig.wait_for_event("pxe.server", "image 2: 4 of 4 files checked and served").await;
    rig.power_on(KNOWN);
    rig.wait_for_event("pxe.asked", "ipxe/snponly.efi").await;
    assert_eq!(rig.image_of(KNOWN), None, "no script yet");

    let script = rig.script(KNOWN).await;
    for file in ["vmlinuz", "initrd"] {
        assert!(script.contains(&format!(":{}{files}/{file} ", rig.ports.http)), "{script}");
    }
    assert_eq!(rig.body(&format!("{files}/vmlinuz")).await, b"other kernel");
    assert_eq!(rig.body(&format!("{files}/initrd")).await, b"other initrd");
    assert_eq!(rig.image_of(KNOWN), Some(BootImage::Adopted(digest.clone())));
    assert_eq!(rig.action(KNOWN).await, "boot");
    // Whoever names no root gets the installed image's, as a node that installs itself by its manifest.
    assert_eq!(rig.body("/artifacts/root.img").await, b"installed root");

    // It is to boot the installed image from the next time on; what runs now still gets its own root.
    rig.director.give_image(KNOWN, None);
    let named = format!("If-Match: \"{}\"\r\n", hex_digest(b"other root"));
    // The server looks at what is wanted every few seconds; this very image is wanted no more, and stays.
    let other = rig.adopt("3", b"third root");
    rig.director.give_image(HELD, Some(&other));
    rig.wait_for_event("pxe.server", "image 3: 4 of 4 files checked and served").await;
    assert_eq!(rig.get("/artifacts/root.img", &named).await.1, b"other root");
    assert!(rig.script(KNOWN).await.contains("/artifacts/vmlinuz"));
    assert_eq!(rig.image_of(KNOWN), Some(BootImage::Installed));
    rig.server.stop().await;
}

#[tokio::test]
async fn an_initrd_that_names_its_root_gets_that_one_or_none() {
    let rig = Rig::start(|_| {}).await;
    let digest = rig.adopt("2", b"other root");
    rig.director.give_image(KNOWN, Some(&digest));
    rig.wait_for_event("pxe.server", "image 2: 4 of 4 files checked and served").await;
    for root in [&b"other root"[..], b"installed root"] {
        let (head, body) = rig.get("/artifacts/root.img", &format!("If-Match: \"{}\"\r\n", hex_digest(root))).await;
        assert!(head.starts_with("HTTP/1.1 200") && body == root, "{head}");
    }
    let (head, body) = rig.get("/artifacts/root.img", &format!("If-Match: \"{}\"\r\n", "0".repeat(64))).await;
    assert!(head.starts_with("HTTP/1.1 412 Precondition Failed"), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("restart this machine"));
    let (head, _) = rig.get("/artifacts/initrd", "If-Match: *\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    rig.server.stop().await;
}

#[tokio::test]
async fn a_damaged_image_is_a_problem_and_is_not_served() {
    let rig = Rig::start(|_| {}).await;
    let digest = rig.adopt("2", b"other root");
    std::fs::write(rig.folder.path().join("images").join(&digest).join("vmlinuz"), b"forged kernel").unwrap();
    rig.director.give_image(KNOWN, Some(&digest));
    rig.wait(|server| server.problems().iter().any(|problem| problem.code == "pxe.image")).await;
    let problems = rig.server.problems();
    let text = &problems.iter().find(|problem| problem.code == "pxe.image").expect("it").text;
    assert!(text.contains("vmlinuz") && text.contains("meadow machine boot"), "{text}");
    let (head, _) = rig.get(&format!("/images/{digest}/vmlinuz"), "").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    // Under another image's name nothing is served at all.
    let forged = "0".repeat(64);
    std::fs::rename(rig.folder.path().join("images").join(&digest), rig.folder.path().join("images").join(&forged))
        .unwrap();
    rig.director.give_image(KNOWN, Some(&forged));
    rig.wait(|server| server.problems().iter().any(|problem| problem.text.contains("another image's"))).await;
    rig.server.stop().await;
}

#[tokio::test]
async fn an_image_for_other_processors_is_refused_with_a_reason() {
    let rig = Rig::start(|_| {}).await;
    let digest = rig.adopt_for("2", "aarch64", b"other root");
    rig.director.give_image(KNOWN, Some(&digest));
    rig.wait_for_event("pxe.server", "image 2: 4 of 4 files checked and served").await;
    rig.power_on(KNOWN);
    rig.wait_for_event("pxe.ignored", "for aarch64 processors and this machine has x86_64 ones").await;
    // It may have got our boot loader before it was given that image.
    let (head, body) = rig.get(&format!("/ipxe/{}/boot.ipxe", KNOWN.hyphenated()), "").await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("gives it another image"));
    rig.director.give_image(KNOWN, None);
    assert!(rig.script(KNOWN).await.contains("/artifacts/vmlinuz"));
    rig.server.stop().await;
}
