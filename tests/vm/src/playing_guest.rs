//! A guest that runs one program of ours on the image's kernel, since the kernels of build machines lack much that Debian's has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use meadow_rack::cpio::Cpio;
use meadow_rack::paths;

/// Debian's package busybox-static.
const BUSYBOX: &str = "/bin/busybox";

/// An initrd with busybox, a program with its libraries, kernel modules and files; `init` is a script of busybox's shell.
///
/// # Errors
/// When something of it is not there.
pub fn initrd(init: &str, program: &Path, modules: &[&str], files: &[(&str, &str)]) -> Result<Vec<u8>> {
    let mut archive = Cpio::default();
    for folder in ["bin", "dev", "proc", "sys", "modules", "lib64", "lib", "lib/x86_64-linux-gnu"] {
        archive.folder(folder);
    }
    archive.program("bin/busybox", &read(Path::new(BUSYBOX))?).program("init", init.as_bytes());
    let name = program.file_name().and_then(|name| name.to_str()).context("a program without a name")?;
    archive.program(&format!("bin/{name}"), &read(program)?);
    for (name, text) in files {
        archive.program(name, text.as_bytes());
    }
    for library in libraries(program)? {
        archive.program(library.trim_start_matches('/'), &read(Path::new(&library))?);
    }
    let tree = module_tree()?;
    for module in modules {
        let name = Path::new(module).file_name().and_then(|name| name.to_str()).context("a module without a name")?;
        let output =
            Command::new("xz").arg("-dc").arg(tree.join(format!("{module}.ko.xz"))).output().context("no xz")?;
        ensure!(output.status.success(), "{module}: {}", String::from_utf8_lossy(&output.stderr));
        archive.program(&format!("modules/{name}.ko"), &output.stdout);
    }
    Ok(archive.finish())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Where the image's kernel has its modules.
fn module_tree() -> Result<PathBuf> {
    let versions = paths::cache().join("kernel/current/usr/lib/modules");
    let first = fs::read_dir(&versions).with_context(|| format!("no {}", versions.display()))?.next();
    Ok(first.context("no kernel")??.path().join("kernel"))
}

/// The libraries that a program needs, with its loader.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let output = Command::new("ldd").arg(program).output().context("no ldd")?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect())
}
