//! What the program was started for.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// PID 1 asks about these partitions.
    Probe {
        /// `meadow-preboot`.
        preboot: PathBuf,
        /// `meadow-state`; `None` where it is gone.
        state: Option<PathBuf>,
    },
    /// PID 1 lets the TPM try before anybody is asked.
    Tpm,
    /// PID 1 ends: the TPM gives nothing back any more.
    Close,
    /// PID 1 asks whether these are an image's manifest and the builder's signature over it.
    Manifest {
        /// File with the manifest.
        manifest: PathBuf,
        /// File with the signature.
        signature: PathBuf,
    },
    /// The prompt on a terminal, by its name below `/dev`.
    Console(String),
    /// A login over SSH.
    Session(Request),
    /// Nothing that anybody here starts.
    Unknown,
}

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The prompt; what a login without a command gets.
    Unlock,
    /// How the boot goes.
    Status,
    /// A backup of the header comes on standard input.
    RestoreHeader,
    /// Anything else: not done.
    Unknown,
}

impl Invocation {
    /// From the arguments without the program's name, and what Dropbear says the client asked for.
    ///
    /// Dropbear starts the account's shell, which is this program, with `-c` and the forced command, which is this
    /// program too; what the client asked for comes in the environment and is compared with a list, never run.
    #[must_use]
    pub fn parse(arguments: &[OsString], asked: Option<&OsStr>) -> Self {
        let words: Option<Vec<&str>> = arguments.iter().map(|argument| argument.to_str()).collect();
        match words.as_deref() {
            Some(["probe", preboot]) => Self::Probe { preboot: preboot.into(), state: None },
            Some(["probe", preboot, state]) => Self::Probe { preboot: preboot.into(), state: Some(state.into()) },
            Some(["tpm"]) => Self::Tpm,
            Some(["close"]) => Self::Close,
            Some(["manifest", manifest, signature]) => {
                Self::Manifest { manifest: manifest.into(), signature: signature.into() }
            }
            Some(["console", terminal]) if is_terminal(terminal) => Self::Console((*terminal).to_owned()),
            Some([] | ["-c", _]) => Self::Session(Request::parse(asked)),
            _ => Self::Unknown,
        }
    }
}

impl Request {
    fn parse(asked: Option<&OsStr>) -> Self {
        let Some(asked) = asked else { return Self::Unlock };
        match asked.to_str().map(str::trim) {
            Some("" | "unlock" | "/sbin/unlock") => Self::Unlock,
            Some("status") => Self::Status,
            Some("restore-header") => Self::RestoreHeader,
            _ => Self::Unknown,
        }
    }
}

/// A name below `/dev` that leads nowhere else.
fn is_terminal(name: &str) -> bool {
    (1..=16).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(arguments: &[&str], asked: Option<&str>) -> Invocation {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        Invocation::parse(&arguments, asked.map(OsStr::new))
    }

    #[test]
    fn what_dropbear_and_pid_1_start() {
        let forced = ["-c", "/sbin/unlock"];
        for (arguments, asked, expected) in [
            (&forced[..], None, Request::Unlock),
            (&forced, Some("unlock"), Request::Unlock),
            (&forced, Some("status"), Request::Status),
            (&forced, Some(" restore-header "), Request::RestoreHeader),
            (&forced, Some("sh"), Request::Unknown),
            (&forced, Some("status; reboot"), Request::Unknown),
            (&forced, Some("probe /dev/sda /dev/sdb"), Request::Unknown),
            (&[], None, Request::Unlock),
        ] {
            assert_eq!(parse(arguments, asked), Invocation::Session(expected), "{arguments:?} {asked:?}");
        }
        let probe =
            |state: Option<&str>| Invocation::Probe { preboot: "/dev/vda5".into(), state: state.map(PathBuf::from) };
        assert_eq!(parse(&["probe", "/dev/vda5", "/dev/vda6"], None), probe(Some("/dev/vda6")));
        assert_eq!(parse(&["probe", "/dev/vda5"], None), probe(None));
        assert_eq!(parse(&["console", "ttyS0"], None), Invocation::Console("ttyS0".to_owned()));
        assert_eq!((parse(&["tpm"], None), parse(&["close"], None)), (Invocation::Tpm, Invocation::Close));
        let manifest = Invocation::Manifest { manifest: "/m".into(), signature: "/s".into() };
        assert_eq!(parse(&["manifest", "/m", "/s"], None), manifest);
        for wrong in [
            &["tpm", "x"][..],
            &["manifest", "/m"],
            &["console", "../sda"],
            &["console", ""],
            &["probe"],
            &["-c"],
            &["-c", "a", "b"],
        ] {
            assert_eq!(parse(wrong, None), Invocation::Unknown, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn a_client_gets_nothing_but_the_list(asked in "\\PC{0,40}") {
            let known = ["", "unlock", "/sbin/unlock", "status", "restore-header"].contains(&asked.trim());
            let request = parse(&["-c", "/sbin/unlock"], Some(&asked));
            prop_assert_eq!(request != Invocation::Session(Request::Unknown), known);
        }
    }
}
