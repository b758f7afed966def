//! Looks after what all interfaces share: the files of images, and the leases.

use std::sync::Arc;

use meadow_netboot::EventKind;

use crate::problem::Problem;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::supervisor::SUPERVISE;

/// Looks after it again and again.
pub(crate) struct Caretaker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) segments: Vec<Arc<Segment>>,
}

impl Caretaker {
    /// Goes on until the task is aborted.
    pub(crate) async fn run(self) {
        let mut said = Vec::new();
        loop {
            let mut problems: Vec<_> = self.subnet_of_nobody().into_iter().collect();
            problems.extend(self.look_after_leases().await);
            problems.extend(self.shared.images.problems());
            self.shared.say_changes(&said, &problems, "with images and leases");
            said.clone_from(&problems);
            self.shared.set_problems(problems);
            self.refresh_artifacts();
            let shared = self.shared.clone();
            // One that crashed has said so, and is tried again.
            let _ = tokio::task::spawn_blocking(move || shared.keep_forms(false)).await;
            tokio::time::sleep(SUPERVISE).await;
        }
    }

    /// Addresses are to be given out, and no interface is in one of the subnets. Said only once all have an address.
    fn subnet_of_nobody(&self) -> Option<Problem> {
        let full = self.shared.full.as_ref()?;
        let own = |segment: &Arc<Segment>| Some((segment.name.clone(), segment.address()?));
        let own: Vec<_> = self.segments.iter().map(own).collect::<Option<_>>()?;
        let server = full.server();
        let is_nobody = !own.iter().any(|(_, address)| server.serves(*address));
        is_nobody.then(|| Problem::dhcp_subnet(&own))
    }

    async fn look_after_leases(&self) -> Option<Problem> {
        let shared = self.shared.clone();
        let look = move || shared.full.as_ref().map(|full| full.look_after(shared.now()));
        match tokio::task::spawn_blocking(look).await.ok().flatten()? {
            Ok(message) => {
                if let Some(message) = message {
                    self.shared.say(EventKind::Server { message });
                }
                None
            }
            Err(problem) => Some(problem),
        }
    }

    /// Has everything checked that is new or changed, the images that nobody boots any more forgotten.
    fn refresh_artifacts(&self) {
        let wanted = self.shared.director.images();
        let open = self.shared.images.keep(&wanted, self.shared.now());
        let stores = open.into_iter().chain([self.shared.artifacts.clone()]);
        for store in stores.filter(|store| store.is_stale()) {
            let shared = self.shared.clone();
            tokio::task::spawn_blocking(move || store.refresh(&|kind| shared.say(kind)));
        }
    }
}
