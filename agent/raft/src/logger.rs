//! The consensus library's log, as far as it is of interest: warnings and worse.

use slog::{Drain, Level, Logger, Never, OwnedKVList, Record, o};

struct ToTracing;

impl Drain for ToTracing {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        match record.level() {
            Level::Critical | Level::Error => tracing::error!(target: "raft", "{}", record.msg()),
            Level::Warning => tracing::warn!(target: "raft", "{}", record.msg()),
            Level::Info | Level::Debug | Level::Trace => {}
        }
        Ok(())
    }
}

pub(crate) fn logger() -> Logger {
    Logger::root(ToTracing.filter_level(Level::Warning).ignore_res(), o!())
}
