//! The end of a trial: a new image for which nobody opens the state is given up, and the machine goes back by itself.

use std::io;
use std::sync::Once;
use std::thread;
use std::time::Duration;

/// How long a new image waits for somebody to open the state: as long as a rollout waits for the node
/// (`meadow_model::image::TRIAL_SECONDS`). A new image that finds no network card, or whose Dropbear does not start, ends so too.
pub(super) const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// Runs out once a boot, whatever attempts that boot takes.
#[derive(Debug)]
pub(super) struct TrialClock {
    patience: Duration,
    begun: Once,
}

impl TrialClock {
    /// One that does not run yet.
    pub(super) const fn new(patience: Duration) -> Self {
        Self { patience, begun: Once::new() }
    }

    /// Begins, unless it runs already: `wait` lets the patience pass, on a thread of its own, and `end` hears why it is over.
    ///
    /// # Errors
    /// If there is no thread; then this trial has no end by itself.
    pub(super) fn start(
        &self,
        wait: impl FnOnce(Duration) + Send + 'static,
        end: impl FnOnce(&str) + Send + 'static,
    ) -> io::Result<()> {
        let (patience, mut begun) = (self.patience, Ok(()));
        self.begun.call_once(|| {
            let run = move || {
                wait(patience);
                let minutes = patience.as_secs() / 60;
                end(&format!("nobody opened the state for the new image within {minutes} minutes"));
            };
            begun = thread::Builder::new().name("trial".to_owned()).spawn(run).map(|_| ());
        });
        begun
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, TryRecvError, channel};

    use super::*;

    /// Tells why the trial ended; where it never will, the receiver hears that nobody is left to tell.
    fn tells(ended: Sender<String>) -> impl FnOnce(&str) + Send + 'static {
        move |why| ended.send(why.to_owned()).unwrap()
    }

    #[test]
    fn a_trial_ends_when_its_time_is_over_and_not_before() {
        let clock = TrialClock::new(PATIENCE);
        let (asked, asks) = channel();
        let (passes, passed) = channel::<()>();
        let (ended, ends) = channel();
        let wait = move |patience| {
            asked.send(patience).unwrap();
            passed.recv().unwrap();
        };
        clock.start(wait, tells(ended)).unwrap();
        assert_eq!(asks.recv().unwrap(), PATIENCE);
        assert_eq!(ends.try_recv(), Err(TryRecvError::Empty), "its time is not over");
        passes.send(()).unwrap();
        assert_eq!(ends.recv().unwrap(), "nobody opened the state for the new image within 60 minutes");
    }

    #[test]
    fn another_attempt_of_the_same_boot_gets_no_more_time() {
        let clock = TrialClock::new(Duration::from_millis(1));
        let (first, first_ends) = channel();
        let (second, second_ends) = channel();
        clock.start(thread::sleep, tells(first)).unwrap();
        clock.start(thread::sleep, tells(second)).unwrap();
        first_ends.recv().unwrap();
        assert!(second_ends.recv().is_err(), "a second clock runs");
    }

    #[test]
    fn a_rollout_waits_as_long_as_the_initrd() {
        assert_eq!(PATIENCE.as_secs(), meadow_model::image::TRIAL_SECONDS);
    }
}
