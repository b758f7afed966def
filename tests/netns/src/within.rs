//! Work inside a network namespace.

use anyhow::{Result, bail};
use meadow_rack::namespace::Namespace;

/// Does `work` in a namespace: sockets that it makes belong to it from then on.
///
/// # Errors
/// When the namespace is gone, and with what `work` fails with.
pub fn within<T: Send>(namespace: &Namespace, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let entered = || {
        namespace.enter()?;
        work()
    };
    // A thread of its own, since only the calling thread enters the namespace.
    std::thread::scope(|scope| scope.spawn(entered).join())
        .unwrap_or_else(|_| bail!("the work in a namespace panicked"))
}
