//! Unified kernel images and initrds as somebody without our keys would make them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use meadow_rack::paths;

/// Signs `uki`, which may be signed already, with a key that nobody trusts, in place of its own signature.
///
/// # Errors
/// When the tools tree has no sbsign(1), or there is no openssl(1).
pub fn signed_by_another(uki: &[u8], folder: &Path) -> Result<Vec<u8>> {
    let [key, certificate, before, after] = ["key.pem", "cert.pem", "before.efi", "after.efi"].map(|n| folder.join(n));
    fs::write(&before, uki)?;
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-subj", "/CN=Stranger", "-keyout"]);
    run(openssl.arg(&key).arg("-out").arg(&certificate))?;
    run(tool("usr/bin/sbattach").arg("--remove").arg(&before))?;
    let mut sign = tool("usr/bin/sbsign");
    run(sign.arg("--key").arg(&key).arg("--cert").arg(&certificate).arg("--output").arg(&after).arg(&before))?;
    Ok(fs::read(after)?)
}

/// The initrd as another builder's would be: a build key of his own takes the place of ours. `folder` is an empty one.
///
/// # Errors
/// When the tools tree has no cpio(1), or there is no openssl(1).
pub fn of_another_builder(initrd: &[u8], folder: &Path) -> Result<Vec<u8>> {
    let (key, public) = (folder.join("build.key"), folder.join("meadow/build-key.pem"));
    fs::create_dir(folder.join("meadow"))?;
    run(Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048"))?;
    run(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&key).arg("-out").arg(&public))?;
    let mut cpio = tool("usr/bin/cpio")
        .args(["--create", "--format=newc", "--quiet"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    cpio.stdin.take().context("no input")?.write_all(b"meadow/build-key.pem\n")?;
    let output = cpio.wait_with_output()?;
    ensure!(output.status.success(), "cpio: {}", output.status);
    // The kernel unpacks one archive after the other; a later file takes the place of an earlier one.
    Ok([initrd, &output.stdout].concat())
}

/// A program of the tools tree, run with the tree's own libraries; the host need not have it.
fn tool(program: &str) -> Command {
    let tree = paths::tools();
    let mut command = Command::new(tree.join("usr/lib64/ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(tree.join("usr/lib/x86_64-linux-gnu")).arg(tree.join(program));
    command
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
