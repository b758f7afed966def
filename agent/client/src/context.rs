//! Contexts: which cluster to talk to, and as whom.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use meadow_host::files::{self, Access, FileError};
use meadow_model::{Fingerprint, Name, Secret};
use serde::{Deserialize, Serialize};

/// Largest context file that is read, in bytes.
const MAX_FILE: u64 = 256 * 1024;

/// Most files that are looked at in the folder of the contexts.
const MAX_CONTEXTS: usize = 1000;

/// A cluster and a user of it, kept in a file of mode 0600.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// The cluster's name.
    pub cluster: Name,
    /// Addresses of the API, tried in turn.
    pub api: Vec<String>,
    /// The key of the cluster's CA; servers of any other are refused.
    pub ca_fingerprint: Fingerprint,
    /// The user's certificate, PEM.
    pub certificate_pem: String,
    /// The user's private key, PKCS #8 PEM.
    pub key_pem: Secret<String>,
}

/// Why a context cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The file is not there, or its folder may not be entered.
    #[error("cannot read the context {path}: {source}; `meadow init` writes contexts below ~/.config/meadow/contexts")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Others than the owner could read the private key.
    #[error(
        "{path} can be read by others (mode {mode:04o}), and it holds a private key; run `chmod 600 {path}`, and if others may have read it, make a new one"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file is no context.
    #[error("{path} is not a context: {why}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// There is no context.
    #[error("there is no context in {0}; `meadow init` writes one, or copy the file from the computer where it ran")]
    None(PathBuf),
    /// There are several and none was chosen.
    #[error("there are several contexts: {}; choose one with --context or MEADOW_CONTEXT", .0.join(", "))]
    Ambiguous(Vec<String>),
}

impl Context {
    /// Reads a context.
    ///
    /// # Errors
    /// [`ContextError`]; a file that others can read is refused.
    pub fn load(path: &Path) -> Result<Self, ContextError> {
        let metadata = path.metadata().map_err(|source| ContextError::Unreadable { path: path.to_owned(), source })?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(ContextError::Exposed { path: path.to_owned(), mode });
        }
        let malformed = |why: String| ContextError::Malformed { path: path.to_owned(), why };
        let text = String::from_utf8(files::read(path, MAX_FILE)?).map(Secret::new);
        let text = text.map_err(|_| malformed("it is not text".to_owned()))?;
        // toml's message quotes the line that is wrong, which may be one of the key's.
        toml::from_str(text.expose()).map_err(|error| malformed(error.message().to_owned()))
    }

    /// Writes the context, at once and readable by its owner only; makes its folder.
    ///
    /// # Errors
    /// [`ContextError`]; the old file is then as it was.
    pub fn save(&self, path: &Path) -> Result<(), ContextError> {
        let malformed = |why: toml::ser::Error| ContextError::Malformed { path: path.to_owned(), why: why.to_string() };
        let text = Secret::new(toml::to_string(self).map_err(malformed)?);
        if let Some(folder) = path.parent() {
            files::make_folder(folder, Access::Private)?;
        }
        Ok(files::replace(path, text.expose().as_bytes(), Access::Private)?)
    }

    /// Where the context `name` lies: a name in `folder`, or the path of a file.
    #[must_use]
    pub fn path(folder: &Path, name: &str) -> PathBuf {
        if name.contains('/') { PathBuf::from(name) } else { folder.join(format!("{name}.toml")) }
    }

    /// Names of the contexts in `folder`, sorted.
    ///
    /// # Errors
    /// [`ContextError`] where the folder is there and cannot be read.
    pub fn names(folder: &Path) -> Result<Vec<String>, ContextError> {
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let names = files::list(folder, MAX_CONTEXTS)?;
        let mut contexts: Vec<String> =
            names.iter().filter_map(|n| n.strip_suffix(".toml")).map(ToOwned::to_owned).collect();
        contexts.sort_unstable();
        Ok(contexts)
    }

    /// The context that is meant where nobody says: the only one.
    ///
    /// # Errors
    /// [`ContextError::None`] or [`ContextError::Ambiguous`].
    pub fn only(folder: &Path) -> Result<Self, ContextError> {
        match Self::names(folder)?.as_slice() {
            [] => Err(ContextError::None(folder.to_owned())),
            [name] => Self::load(&Self::path(folder, name)),
            several => Err(ContextError::Ambiguous(several.to_vec())),
        }
    }
}

/// The folder of a user's contexts: `meadow/contexts` below `config_home` (`XDG_CONFIG_HOME`), else below
/// `home`/.config (XDG Base Directory Specification 0.8).
#[must_use]
pub fn context_folder(config_home: Option<&Path>, home: Option<&Path>) -> PathBuf {
    let config = match (config_home, home) {
        (Some(config), _) if config.is_absolute() => config.to_owned(),
        (_, Some(home)) => home.join(".config"),
        (_, None) => PathBuf::from("/root/.config"),
    };
    config.join("meadow").join("contexts")
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};

    use super::*;

    fn example() -> Context {
        Context {
            cluster: Name::new("home").expect("valid"),
            api: vec!["https://192.0.2.2:7443".to_owned()],
            ca_fingerprint: Fingerprint([7; 32]),
            certificate_pem: "certificate".to_owned(),
            key_pem: Secret::new("not to be seen".to_owned()),
        }
    }

    #[test]
    fn what_was_saved_is_loaded_and_nobody_else_can_read_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = Context::path(folder.path(), "home");
        example().save(&path).expect("saved");
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o600);
        let loaded = Context::load(&path).expect("loaded");
        assert_eq!((loaded.cluster, loaded.api), (example().cluster, example().api));
        assert_eq!(loaded.key_pem.expose(), example().key_pem.expose());
        assert!(Context::only(folder.path()).is_ok());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = Context::path(folder.path(), "home");
        example().save(&path).expect("saved");
        for mode in [0o640, 0o604, 0o620] {
            set_permissions(&path, Permissions::from_mode(mode)).expect("chmod");
            let error = Context::load(&path).expect_err("refused");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn a_damaged_file_is_told_without_what_is_in_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("broken.toml");
        files::replace(&path, b"key_pem = \"hunter2", Access::Private).expect("written");
        let error = Context::load(&path).expect_err("refused").to_string();
        assert!(error.contains("broken.toml") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn none_and_several_are_told_apart() {
        let folder = tempfile::tempdir().expect("folder");
        assert!(matches!(Context::only(&folder.path().join("missing")), Err(ContextError::None(_))));
        for name in ["b", "a"] {
            example().save(&Context::path(folder.path(), name)).expect("saved");
        }
        let Err(ContextError::Ambiguous(names)) = Context::only(folder.path()) else { panic!("two contexts") };
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn folders_follow_the_xdg_specification() {
        let home = Path::new("/home/ann");
        let cases = [
            (None, Some(home), "/home/ann/.config/meadow/contexts"),
            (Some(Path::new("/etc/x")), Some(home), "/etc/x/meadow/contexts"),
            // A relative path is to be ignored.
            (Some(Path::new("x")), Some(home), "/home/ann/.config/meadow/contexts"),
        ];
        for (config, home, expected) in cases {
            assert_eq!(context_folder(config, home), Path::new(expected));
        }
    }
}
