//! Tasks that end with their owner.

use tokio::task::AbortHandle;

/// Ends a background task when dropped: also when the future that owns it is dropped half-way, by a timeout.
#[derive(Debug)]
pub(crate) struct Background(AbortHandle);

impl Background {
    /// Starts a task; must be called within a tokio runtime.
    pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task).abort_handle())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}
