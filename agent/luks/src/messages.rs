//! libcryptsetup's messages: by itself it prints them, also to the standard output, where our protocols run.

use std::cell::RefCell;
use std::sync::Once;

use libcryptsetup_rs::consts::vals::CryptLogLevel;
use libcryptsetup_rs::{c_logging_callback, set_log_callback};

thread_local! {
    static LAST_ERROR: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn keep(level: CryptLogLevel, message: &str, _: Option<&mut ()>) {
    tracing::debug!(?level, message, "libcryptsetup");
    if level == CryptLogLevel::Error {
        LAST_ERROR.with_borrow_mut(|last| *last = Some(message.trim_end_matches('.').to_owned()));
    }
}

c_logging_callback!(keep_in_c, (), keep);

/// Catches the messages from now on; called before every use of the library.
pub(crate) fn catch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| set_log_callback::<()>(Some(keep_in_c), None));
    take_last_error();
}

/// The last error message of this thread.
pub(crate) fn take_last_error() -> Option<String> {
    LAST_ERROR.with_borrow_mut(Option::take)
}
