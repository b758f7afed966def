//! The work that the cluster gave this node: each piece is done once, and reported until the cluster has heard how it
//! ended.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use meadow_model::Name;
use meadow_model::console::SelfWork;
use meadow_model::work::{NodeTask, NodeWork, WorkEnd, WorkReport};

/// Pieces of work that a node takes at once; more than a voter would ever give.
const MAX_WORK: usize = 16;

/// Does the work.
pub trait Worker: Send + Sync + 'static {
    /// Does `task` and tells how far it is.
    fn work(self: Arc<Self>, task: NodeTask, note: Note) -> Pin<Box<dyn Future<Output = WorkEnd> + Send>>;

    /// Restarts the computer, once the cluster has heard that the work is done.
    fn restart(self: Arc<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// What a node works on.
#[derive(Clone)]
pub struct Work {
    worker: Arc<dyn Worker>,
    entries: Entries,
}

type Entries = Arc<Mutex<BTreeMap<Name, Entry>>>;

struct Entry {
    report: WorkReport,
    /// Whether the computer restarts once the cluster has heard that it is done.
    restart: bool,
    /// Whether it stands still until somebody restarts the computer.
    wants_restart: bool,
    /// What the last step is once it is done, in place of `done`.
    outcome: Option<String>,
}

/// Where a worker tells how far it is.
pub struct Note {
    operation: Name,
    entries: Entries,
}

impl Note {
    /// The work is at this step.
    pub fn step(&self, step: &str, percent: Option<u8>) {
        self.change(|Entry { report, .. }| {
            step.clone_into(&mut report.step);
            report.percent = percent;
        });
    }

    /// The work stands still at this step until somebody restarts the computer.
    pub fn waits_for_restart(&self, step: &str) {
        self.step(step, None);
        self.change(|entry| entry.wants_restart = true);
    }

    /// The computer does not have to restart for this work.
    pub fn no_restart(&self) {
        self.change(|entry| entry.restart = false);
    }

    /// What there is to tell once the work is done.
    pub fn outcome(&self, outcome: String) {
        self.change(|entry| entry.outcome = Some(outcome));
    }

    /// The operation that the work belongs to.
    #[must_use]
    pub fn operation(&self) -> &Name {
        &self.operation
    }

    fn end(&self, end: WorkEnd) {
        self.change(|Entry { report, outcome, .. }| {
            report.step = match &end {
                WorkEnd::Done { .. } => outcome.take().unwrap_or_else(|| "done".to_owned()),
                WorkEnd::Failed { .. } => "failed".to_owned(),
            };
            report.percent = None;
            report.end = Some(end);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(&self.operation) {
            change(entry);
        }
    }
}

impl Work {
    /// Nothing to do yet.
    #[must_use]
    pub fn new(worker: Arc<dyn Worker>) -> Self {
        Self { worker, entries: Entries::default() }
    }

    /// What to report.
    #[must_use]
    pub fn reports(&self) -> Vec<WorkReport> {
        self.locked(|entries| entries.values().map(|entry| entry.report.clone()).collect())
    }

    /// What has not ended, for the console.
    #[must_use]
    pub fn under_way(&self) -> Vec<SelfWork> {
        let shown = |Entry { report, wants_restart, .. }: &Entry| SelfWork {
            operation: report.operation.clone(),
            step: report.step.clone(),
            percent: report.percent,
            wants_restart: *wants_restart,
        };
        self.locked(|entries| entries.values().filter(|entry| entry.report.end.is_none()).map(shown).collect())
    }

    /// Takes in the answer to a report that held `sent`: begins what is new, and forgets what has ended and is not
    /// wanted any more.
    pub fn take(&self, sent: &[WorkReport], wanted: Vec<NodeWork>) {
        let heard = |name: &Name| sent.iter().any(|report| report.operation == *name && report.end.is_some());
        let is_wanted = |name: &Name| wanted.iter().any(|work| work.operation == *name);
        let mut restart = false;
        let fresh = self.locked(|entries| {
            entries.retain(|name, entry| {
                let keep = is_wanted(name) || !heard(name);
                restart |= !keep && entry.restart && matches!(entry.report.end, Some(WorkEnd::Done { .. }));
                keep
            });
            let room = MAX_WORK.saturating_sub(entries.len());
            let fresh: Vec<NodeWork> =
                wanted.iter().filter(|work| !entries.contains_key(&work.operation)).take(room).cloned().collect();
            for work in &fresh {
                entries.insert(work.operation.clone(), Entry::of(work));
            }
            fresh
        });
        for NodeWork { operation, task } in fresh {
            let note = || Note { operation: operation.clone(), entries: Arc::clone(&self.entries) };
            let (work, end) = (Arc::clone(&self.worker).work(task, note()), note());
            tokio::spawn(async move { end.end(work.await) });
        }
        if restart {
            tokio::spawn(Arc::clone(&self.worker).restart());
        }
    }

    /// Restarts the computer where work has ended that wants this, though nobody may hear of it any more: a node that has
    /// erased itself is removed from its cluster by the report that says so. Gives whether it restarts.
    pub async fn restart_if_ended(&self) -> bool {
        let wants = |entry: &Entry| entry.restart && matches!(entry.report.end, Some(WorkEnd::Done { .. }));
        let restart = self.locked(|entries| entries.values().any(wants));
        if restart {
            Arc::clone(&self.worker).restart().await;
        }
        restart
    }

    fn locked<T>(&self, work: impl FnOnce(&mut BTreeMap<Name, Entry>) -> T) -> T {
        work(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entry {
    fn of(work: &NodeWork) -> Self {
        let restart = match &work.task {
            NodeTask::Install(task) => task.reboot,
            NodeTask::Reboot
            | NodeTask::Reinstall(_)
            | NodeTask::Reset(_)
            | NodeTask::TryImage { .. }
            | NodeTask::UpdateFromStick(_) => true,
            NodeTask::Keys(_)
            | NodeTask::WriteImage(_)
            | NodeTask::BlessImage
            | NodeTask::Support(_)
            | NodeTask::TryNetwork(_)
            | NodeTask::ConfirmNetwork
            | NodeTask::NetworkBack => false,
        };
        let report = WorkReport {
            operation: work.operation.clone(),
            step: "the node has taken the work".to_owned(),
            percent: None,
            end: None,
        };
        Self { report, restart, wants_restart: false, outcome: None }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    /// Works until it is let go, and counts.
    #[derive(Default)]
    struct Patient {
        begun: AtomicU32,
        go: Notify,
        restarted: Notify,
    }

    impl Worker for Patient {
        fn work(self: Arc<Self>, _: NodeTask, note: Note) -> Pin<Box<dyn Future<Output = WorkEnd> + Send>> {
            self.begun.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                note.step("half way", Some(50));
                self.go.notified().await;
                note.outcome("half of it is erased".to_owned());
                WorkEnd::Done { answer: None }
            })
        }

        fn restart(self: Arc<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(async move { self.restarted.notify_one() })
        }
    }

    /// Has nothing to restart for, once it is let go.
    #[derive(Default)]
    struct Waiting(Notify);

    impl Worker for Waiting {
        fn work(self: Arc<Self>, _: NodeTask, note: Note) -> Pin<Box<dyn Future<Output = WorkEnd> + Send>> {
            Box::pin(async move {
                note.waits_for_restart("waits");
                self.0.notified().await;
                note.no_restart();
                WorkEnd::Done { answer: None }
            })
        }

        fn restart(self: Arc<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            unreachable!("nothing to restart for")
        }
    }

    #[tokio::test]
    async fn work_tells_whether_it_waits_for_a_restart_and_whether_it_needs_one() {
        let waiting = Arc::new(Waiting::default());
        let work = Work::new(Arc::clone(&waiting) as Arc<dyn Worker>);
        work.take(&[], vec![NodeWork { operation: Name::new("op-1").expect("valid"), task: NodeTask::Reboot }]);
        until(&work, "waits").await;
        let [shown] = work.under_way().try_into().expect("one");
        assert!(shown.wants_restart && shown.step == "waits", "{shown:?}");
        waiting.0.notify_one();
        let ended = until(&work, "done").await;
        assert_eq!(work.under_way(), []);
        work.take(&ended, Vec::new());
        assert!(work.reports().is_empty() && !work.restart_if_ended().await);
    }

    async fn until(work: &Work, step: &str) -> Vec<WorkReport> {
        loop {
            let reports = work.reports();
            if reports.iter().any(|report| report.step == step) {
                return reports;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn work_is_done_once_and_forgotten_when_its_end_was_heard() {
        let patient = Arc::new(Patient::default());
        let work = Work::new(Arc::clone(&patient) as Arc<dyn Worker>);
        let wanted = || vec![NodeWork { operation: Name::new("op-1").expect("valid"), task: NodeTask::Reboot }];
        work.take(&[], wanted());
        let early = until(&work, "half way").await;
        work.take(&early, wanted());
        assert_eq!(patient.begun.load(Ordering::Relaxed), 1, "it was begun already");

        patient.go.notify_one();
        let ended = until(&work, "half of it is erased").await;
        // The answer to a report of before the end: nobody has heard of the end yet.
        work.take(&early, Vec::new());
        assert_eq!(work.reports(), ended);
        work.take(&ended, wanted());
        assert_eq!(work.reports(), ended, "the voter has not noted it yet");
        work.take(&ended, Vec::new());
        assert_eq!(work.reports(), []);
        patient.restarted.notified().await;
        assert_eq!(patient.begun.load(Ordering::Relaxed), 1);
    }
}
