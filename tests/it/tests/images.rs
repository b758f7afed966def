//! Images that are brought to the cluster: what it says of an older one, and what it takes to roll that out.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use meadow_tests_it::{Lab, Ran};
use serde_json::json;

const DAY: i64 = 86_400;

fn openssl(arguments: &[&str]) -> Result<()> {
    let output = Command::new("openssl").args(arguments).output()?;
    ensure!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Whoever builds images for a lab.
struct Builder<'a> {
    lab: &'a Lab,
    key: PathBuf,
}

impl<'a> Builder<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let key = lab.folder().join("build.key");
        openssl(&["genrsa", "-out", &text(&key), "2048"])?;
        fs::create_dir_all(lab.images())?;
        openssl(&["rsa", "-in", &text(&key), "-pubout", "-out", &text(&lab.images().join("build.pem"))])?;
        Ok(Self { lab, key })
    }

    /// A small image with this version, whose kernel is of that day.
    fn build(&self, version: &str, day: i64) -> Result<String> {
        let folder = self.lab.folder().join(version);
        fs::create_dir(&folder)?;
        let initrd = format!("the initrd of {version}");
        fs::write(folder.join("initrd"), &initrd)?;
        let sha256: String = meadow_pki::sha256(initrd.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let manifest = json!({
            "version": 1, "image": version, "kernel": "6.12", "architecture": "x86_64", "date": day * DAY,
            "artifacts": {"initrd": {"size": initrd.len(), "sha256": sha256}},
        });
        let (manifest_file, signature) = (folder.join("manifest.json"), folder.join("manifest.json.sig"));
        fs::write(&manifest_file, manifest.to_string())?;
        let (key, out) = (text(&self.key), text(&signature));
        openssl(&["dgst", "-sha256", "-sign", &key, "-out", &out, &text(&manifest_file)])?;
        Ok(text(&folder))
    }

    fn add(&self, version: &str, day: i64) -> Result<Ran> {
        self.lab.meadow(["image", "add", &self.build(version, day)?])
    }

    fn roll_out(&self, version: &str, more: &[&str]) -> Result<Ran> {
        let consent = ["image", "rollout", version, "--yes", "--accept-risk=restart-nodes"];
        self.lab.meadow([&consent[..], more].concat())
    }

    fn roll_back(&self) -> Result<Ran> {
        self.lab.meadow(["image", "rollback", "--yes", "--accept-risk=restart-nodes"])
    }

    fn was_rolled_out(&self, version: &str) -> Result<bool> {
        let shown = self.lab.meadow(["image", "show", version, "-o", "json"])?.ok()?.json()?;
        Ok(!shown["status"]["rolled_out"].is_null())
    }
}

fn text(path: &std::path::Path) -> String {
    path.display().to_string()
}

#[test]
fn an_older_image_is_taken_in_and_rolled_out_only_on_purpose() -> Result<()> {
    let lab = Lab::start()?;
    let builder = Builder::new(&lab)?;
    // Nobody can say which one is meant before one was rolled out.
    let first = builder.add("0.2.0-b", 7)?.ok()?;
    assert!(first.stderr.contains("meadow image rollout 0-2-0-b"), "{}", first.stderr);
    let second = builder.add("0.2.0-a", 6)?.ok()?;
    assert!(!second.stderr.contains("older"), "{}", second.stderr);
    let nothing_before = builder.roll_back()?;
    assert_eq!(nothing_before.code, Some(4), "{}", nothing_before.stderr);
    builder.roll_out("0.2.0-b", &[])?.ok()?;
    assert!(builder.was_rolled_out("0.2.0-b")?);

    // The number of the version counts before the date.
    let older = builder.add("0.1.0-c", 9)?.ok()?;
    for words in ["older than 0.2.0-b", "mended faults", "meadow image rollout 0-1-0-c --allow-older"] {
        assert!(older.stderr.contains(words), "{}", older.stderr);
    }
    for version in ["0.1.0-c", "0.2.0-a"] {
        let refused = builder.roll_out(version, &[])?;
        assert_eq!(refused.code, Some(4), "{}", refused.stderr);
        let why = format!("{version} is older than 0.2.0-b");
        assert!(refused.stderr.contains(&why) && refused.stderr.contains("--allow-older"), "{}", refused.stderr);
        assert!(refused.stderr.contains("meadow image rollback"), "{}", refused.stderr);
        assert!(!builder.was_rolled_out(version)?);
    }
    builder.roll_out("0.1.0-c", &["--allow-older"])?.ok()?;
    assert!(builder.was_rolled_out("0.1.0-c")?);
    // What was once rolled out stays the measure.
    let again = builder.roll_out("0.1.0-c", &[])?;
    assert_eq!(again.code, Some(4), "{}", again.stderr);
    builder.add("0.2.0-d", 8)?.ok()?;
    builder.roll_out("0.2.0-d", &[])?.ok()?;
    Ok(())
}
