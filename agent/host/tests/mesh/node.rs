//! A node of a test: a thread in a network namespace of its own, with a runtime that never stops while it lives.

use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;

use futures_util::future::BoxFuture;
use meadow_host::wireguard::{self, WireGuard};
use meadow_model::mesh::MESH_INTERFACE;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use tokio::sync::mpsc;

type Job = Box<dyn for<'a> FnOnce(&'a mut dyn WireGuard) -> BoxFuture<'a, ()> + Send>;

/// A namespace with a WireGuard device.
pub(crate) struct Node {
    jobs: Option<mpsc::UnboundedSender<(Job, std_mpsc::Sender<()>)>>,
    tid: i32,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts the thread and makes its namespace and interface.
    pub(crate) fn start(name: &str) -> Self {
        let (jobs, mut inbox) = mpsc::unbounded_channel::<(Job, std_mpsc::Sender<()>)>();
        let (ready, started) = std_mpsc::channel();
        let run = move || {
            // SAFETY: only this thread's network namespace changes; no descriptor or memory is unshared.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
                .expect("this test makes network namespaces: run it as root");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async {
                let mut wireguard = wireguard::open(MESH_INTERFACE).await.expect("WireGuard in the kernel, or TUN");
                println!("WireGuard: {}", wireguard.backend());
                ready.send(rustix::thread::gettid().as_raw_nonzero().get()).expect("the test waits");
                while let Some((job, done)) = inbox.recv().await {
                    job(wireguard.as_mut()).await;
                    // The test may be gone after a failed assertion elsewhere.
                    let _ = done.send(());
                }
            });
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run).expect("thread");
        let tid = started.recv().expect("the node starts; its own panic says why not");
        Self { jobs: Some(jobs), tid, thread: Some(thread) }
    }

    /// The thread's number: `ip link … netns <number>` finds its namespace by that.
    pub(crate) fn tid(&self) -> i32 {
        self.tid
    }

    /// Runs a job on the node and waits for its end.
    pub(crate) fn run(&self, job: impl for<'a> FnOnce(&'a mut dyn WireGuard) -> BoxFuture<'a, ()> + Send + 'static) {
        let (done, wait) = std_mpsc::channel();
        let jobs = self.jobs.as_ref().expect("set until dropped");
        assert!(jobs.send((Box::new(job), done)).is_ok(), "the node runs");
        wait.recv().expect("the job ends well; the node's own panic says why not");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the node was told by `run` already.
            let _ = thread.join();
        }
    }
}
