//! What a person does on a real LAN: install, `meadow init`, start the agent. On the real paths, over a throw-away
//! layer of the host's root file system.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Result;
use meadow_rack::namespace::Namespace;
use meadow_rack::{paths, wait};
use meadow_tests_netns::{Net, PATIENCE};

/// A shell script that runs as if on a host of its own: all it writes goes into `layer`.
fn on_a_copy_of_the_host(namespace: &Namespace, layer: &Path, script: &str) -> Result<std::process::Command> {
    for folder in ["upper", "work", "root"] {
        fs::create_dir_all(layer.join(folder))?;
    }
    let enter = r#"
        set -eu
        cd "$1"
        mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root
        for folder in /proc /sys /dev; do mount --rbind $folder root$folder; done
        for folder in /run /tmp; do mount -t tmpfs tmpfs root$folder; done
        shift
        for folder; do mkdir -p "root$folder"; mount --bind "$folder" "root$folder"; done
        exec chroot root bash -euo pipefail -c "$SCRIPT"
    "#;
    let checkout = paths::checkout().canonicalize()?;
    let mut command = namespace.command("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", enter, "sh"])
        .arg(layer)
        .arg(&checkout)
        .arg(paths::programs());
    command.env("SCRIPT", script).env("MEADOW_BIN", paths::programs());
    Ok(command)
}

/// The answers that a person would give, with the image where `make install` has put it.
fn answers(address: Ipv4Addr) -> String {
    format!(
        "cluster = \"home\"\nnode = \"seed\"\nadmin = \"ada\"\npxe_interface = \"eth0\"\napi_listen = \"[::]:7443\"\n\
         api_addresses = [\"{address}:7443\"]\nimage_dir = \"/usr/share/meadow/image\"\n\
         context_dir = \"/root/.config/meadow/contexts\"\npxe_open_s = 600\n"
    )
}

/// Which of the paths that an installation makes are there.
fn installed_on_the_host() -> Vec<bool> {
    ["/usr/bin/meadowd", "/usr/share/meadow", "/etc/meadow", "/var/lib/meadow"]
        .map(|path| Path::new(path).exists())
        .to_vec()
}

#[test]
fn installed_initialised_and_serving_as_the_readme_says() {
    let before = installed_on_the_host();
    let mut net = Net::build().expect("namespaces");
    net.address_client().expect("an address");
    let seed = net.server().clone();
    let address = net.server_address().parse().expect("an address");
    let image = net.artifacts().folder().to_owned();
    // A folder beside the rack's own: an overlay cannot lie in what it covers if that is bound in as well.
    let layer = net.file("host");
    let script = format!(
        "cd {checkout}\nMEADOW_IMAGE={image} tests/make/install '' /usr\nmkdir -p /root\n\
         printf '%s' '{answers}' > /root/answers\nmeadow init --file /root/answers --no-input\n\
         meadowd & agent=$!\ntrap 'kill $agent; wait $agent' EXIT\n\
         for try in $(seq 100); do meadow status >/dev/null 2>&1 && break; sleep 0.3; done\n\
         meadow status\nmeadow node ls -o name\nstat -c '%a %n' /root/.config/meadow/contexts/*\necho SERVING\n\
         while [ ! -e /tmp/done ]; do sleep 0.2; done\n",
        checkout = paths::checkout().canonicalize().expect("a checkout").display(),
        image = image.display(),
        answers = answers(address),
    );
    let mut command = on_a_copy_of_the_host(&seed, &layer, &script).expect("a layer");
    command.arg(&image);
    let (mut person, log) = net.start(&seed, command, "person.log").expect("started");
    wait::until("the served cluster", PATIENCE, || {
        let text = fs::read_to_string(&log)?;
        if let Some(status) = person.exited()? {
            anyhow::bail!("ended ({status}): {text}");
        }
        Ok(text.contains("SERVING").then_some(()))
    })
    .expect("it serves");
    let text = fs::read_to_string(&log).expect("a log");
    assert!(text.contains("node/seed") || text.lines().any(|line| line == "seed"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("600 ")), "the admin's context is not private: {text}");

    let got = net.on_client("curl", &["-sf", &net.url("artifacts/vmlinuz")]).expect("curl");
    assert!(got.stdout == net.artifacts().read("vmlinuz").expect("an artifact"), "the installed image is not served");
    assert_eq!(installed_on_the_host(), before, "the host itself was written to");
}
