//! Images and their rollouts.

use meadow_model::action::{TRY_IMAGE, WRITE_IMAGE};
use meadow_model::boot::{BootOptions, BootPolicy};
use meadow_model::image::ImageSpec;
use meadow_model::install::InstalledDisk;
use meadow_model::operation::OperationState;
use meadow_model::{Kind, Name, ProblemCode};
use meadow_state::Outcome;
use meadow_state::command::{Command, MachineRef, OperationEnd};

use crate::support::*;

fn spec(version: &str, digest: &str, day: i64) -> ImageSpec {
    ImageSpec {
        version: version.to_owned(),
        kernel: "6.12".to_owned(),
        architecture: "x86_64".to_owned(),
        date: meadow_model::Timestamp::from_millis(day * 86_400_000),
        digest: digest.to_owned(),
        size_bytes: 1,
        release_signature: String::new(),
    }
}

fn adopt(image: &str, spec: ImageSpec) -> Command {
    Command::AdoptImage { name: name(image), spec: Box::new(spec) }
}

fn rollout_of(digest: &str, allow_older: bool) -> Command {
    Command::StartRollout { digest: digest.to_owned(), allow_older, without_majority: false }
}

fn begun(cluster: &mut Cluster, digest: &str, allow_older: bool) -> meadow_model::Name {
    match cluster.ok(rollout_of(digest, allow_older)).outcome {
        Outcome::Operation { name } => name,
        other => panic!("{other:?}"),
    }
}

fn state_of(cluster: &Cluster, operation: &meadow_model::Name) -> OperationState {
    cluster.state.operations().get(operation).expect("there").status.state
}

#[test]
fn an_image_is_rolled_out_once_and_an_older_one_only_on_purpose() {
    let mut cluster = Cluster::new();
    cluster.ok(adopt("new", spec("0.2.0-b", "b", 9)));
    cluster.ok(adopt("old", spec("0.1.0-a", "a", 20)));
    let rollout = begun(&mut cluster, "b", false);
    assert_eq!(cluster.state.rollout().map(|rollout| rollout.digest.as_str()), Some("b"));
    let busy = Command::RemoveImage { name: name("new"), if_match: None };
    assert_eq!(cluster.refused(busy.clone()), ProblemCode::Conflict);
    cluster.ok(Command::EndRollout { operation: rollout.clone(), end: OperationEnd::Succeeded });
    assert_eq!(state_of(&cluster, &rollout), OperationState::Succeeded);
    assert!(cluster.state.rollout().is_none());
    assert!(cluster.state.images().get(&name("new")).expect("there").status.rolled_out.is_some());

    let refused = cluster.apply(rollout_of("a", false)).expect_err("older");
    assert!(refused.detail.contains("--allow-older"), "{refused:?}");
    begun(&mut cluster, "a", true);
    // The nodes are told: one may run a newer image of which the cluster knows nothing.
    assert!(cluster.state.rollout().is_some_and(|rollout| rollout.allow_older));
    cluster.ok(busy);
    assert!(cluster.state.images().get(&name("new")).is_none());
}

#[test]
fn a_rollout_takes_the_place_of_the_one_before() {
    let mut cluster = Cluster::new();
    cluster.ok(adopt("a", spec("0.1.0-a", "a", 1)));
    let first = begun(&mut cluster, "a", false);
    let second = begun(&mut cluster, "c", false);
    assert_eq!(state_of(&cluster, &first), OperationState::Failed);
    // Whoever drove the first one may not have heard yet.
    cluster.ok(Command::EndRollout { operation: first, end: OperationEnd::Succeeded });
    assert_eq!(state_of(&cluster, &second), OperationState::Running);
    assert!(cluster.state.images().get(&name("a")).expect("there").status.rolled_out.is_none());
}

fn work_of(cluster: &mut Cluster, node: &str, action: &str) -> Name {
    let step = "waits for the node to take it".to_owned();
    let start = Command::StartOperation { action: action.to_owned(), kind: Kind::Node, target: name(node), step };
    match cluster.ok(start).outcome {
        Outcome::Operation { name } => name,
        other => panic!("no operation: {other:?}"),
    }
}

fn that_runs(digest: &str) -> InstalledDisk {
    serde_json::from_value(serde_json::json!({
        "serial": "S1", "disk": "sda", "mode": "system", "luks_uuid": "u", "host_key": "SHA256:x", "host_key_sealed": false,
        "keys": [], "running": "a", "blessed": "a", "slots": [{"slot": "a", "digest": digest}],
    }))
    .expect("a disk")
}

#[test]
fn a_rollout_that_waits_for_a_node_is_called_off_and_names_it() {
    let mut cluster = Cluster::new();
    cluster.ok(adopt("old", spec("0.1.0-a", "a", 1)));
    cluster.ok(adopt("new", spec("0.2.0-b", "b", 9)));
    assert_eq!(cluster.refused(Command::CallOffRollout), ProblemCode::Conflict, "none runs");
    for (seed, node, digest) in [(7, "attic", "b"), (8, "cellar", "a")] {
        let (machine, _) = cluster.pending(&claim(seed));
        cluster.ok(approve_as(&machine, node));
        let installed = Some(Box::new(that_runs(digest)));
        cluster.ok(Command::SetNodeDisk { node: name(node), installed, durable: true });
    }
    let rollout = begun(&mut cluster, "b", false);
    let untaken = work_of(&mut cluster, "cellar", TRY_IMAGE);
    let taken = work_of(&mut cluster, "attic", WRITE_IMAGE);
    cluster.ok(Command::NoteOperation { operation: taken.clone(), step: "fetches the image".to_owned(), end: None });
    cluster.ok(Command::CallOffRollout);
    // A node that is switched off does not restart into the image once it is back.
    assert_eq!(state_of(&cluster, &untaken), OperationState::Failed);
    assert_eq!(state_of(&cluster, &taken), OperationState::Running, "the node says how that ends");
    let status = &cluster.state.operations().get(&rollout).expect("there").status;
    let why = status.error.as_deref().expect("why");
    assert_eq!(status.state, OperationState::Failed);
    assert!(why.ends_with("left out: cellar"), "{why}");
    // The image can be taken away, and the one before it is known to be older.
    assert!(cluster.state.rollout().is_none());
    let refused = cluster.apply(rollout_of("a", false)).expect_err("older");
    assert!(refused.detail.contains("--allow-older"), "{refused:?}");
    cluster.ok(Command::RemoveImage { name: name("new"), if_match: None });
}

#[test]
fn the_same_image_twice_is_one_and_another_one_of_its_name_is_refused() {
    let mut cluster = Cluster::new();
    cluster.ok(adopt("a", spec("0.1.0-a", "a", 1)));
    cluster.ok(adopt("a", spec("0.1.0-a", "a", 1)));
    assert_eq!(cluster.refused(adopt("a", spec("0.1.0-a", "b", 1))), ProblemCode::Conflict);
    for number in 1..32 {
        cluster.ok(adopt(&format!("image-{number}"), spec("0.1.0-x", &number.to_string(), 1)));
    }
    assert_eq!(cluster.refused(adopt("one-more", spec("0.1.0-x", "more", 1))), ProblemCode::Conflict);
}

#[test]
fn a_machine_boots_another_image_which_stays_as_long_as_it_does() {
    let mut cluster = Cluster::new();
    cluster.ok(adopt("old", spec("0.1.0-a", "a", 1)));
    cluster.ok(adopt("new", spec("0.2.0-b", "b", 9)));
    let set = |options| Command::SetBoot {
        machine: MachineRef::Mac(mac(7)),
        boot: BootPolicy::Image,
        plain_pxe: false,
        options,
        if_match: None,
    };
    let of = |image: Option<&str>| BootOptions { image: image.map(name), ..BootOptions::default() };
    assert_eq!(cluster.refused(set(of(Some("none")))), ProblemCode::NotFound);
    cluster.ok(set(of(Some("old"))));
    let booted = |cluster: &Cluster| {
        let choice = cluster.state.boot_choice(mac(7), cluster.now);
        choice.image.map(|image| image.spec.digest.clone())
    };
    assert_eq!(booted(&cluster).as_deref(), Some("a"));
    let remove = |image| Command::RemoveImage { name: name(image), if_match: None };
    let refused = cluster.apply(remove("old")).expect_err("a machine boots it");
    assert!(refused.detail.contains("meadow machine boot m-525400000007 image --image installed"), "{refused:?}");

    // Another one only once.
    let once = BootOptions { once: Some(BootPolicy::Image), once_image: Some(name("new")), ..of(Some("old")) };
    cluster.ok(set(once));
    assert_eq!(booted(&cluster).as_deref(), Some("b"));
    assert_eq!(cluster.state.images_to_boot(), ["a".to_owned(), "b".to_owned()].into());
    assert_eq!(cluster.refused(remove("new")), ProblemCode::Conflict);
    cluster.ok(Command::BootedOnce { mac: mac(7) });
    assert_eq!(booted(&cluster).as_deref(), Some("a"));
    cluster.ok(remove("new"));

    // Once without an image is the installed one.
    cluster.ok(set(BootOptions { once: Some(BootPolicy::Image), ..of(Some("old")) }));
    assert_eq!(booted(&cluster), None);
    cluster.ok(set(of(None)));
    cluster.ok(remove("old"));
}

#[test]
fn a_machine_gets_no_image_for_other_processors_than_its_own() {
    let mut cluster = Cluster::new();
    cluster.ok(adopt("x86", spec("0.1.0-a", "a", 1)));
    cluster.ok(adopt("arm", ImageSpec { architecture: "aarch64".to_owned(), ..spec("0.1.0-b", "b", 1) }));
    let set = |image: &str, is_once: bool| {
        let image = Some(name(image));
        let options = match is_once {
            true => BootOptions { once: Some(BootPolicy::Image), once_image: image, ..BootOptions::default() },
            false => BootOptions { image, ..BootOptions::default() },
        };
        Command::SetBoot {
            machine: MachineRef::Mac(mac(7)),
            boot: BootPolicy::Image,
            plain_pxe: false,
            options,
            if_match: None,
        }
    };
    let seen = |architecture: Option<&str>| Command::SeeMachine {
        mac: mac(7),
        arch: String::new(),
        architecture: architecture.map(str::to_owned),
    };
    // Nobody knows its processors yet: the boot server looks again when it comes.
    cluster.ok(set("arm", false));
    cluster.ok(seen(Some("x86_64")));
    for is_once in [false, true] {
        let refused = cluster.apply(set("arm", is_once)).expect_err("other processors");
        assert_eq!(refused.code, ProblemCode::Conflict);
        let says = "is for aarch64 processors and m-525400000007 has x86_64 ones";
        assert!(refused.detail.contains(says) && refused.detail.contains("meadow image ls"), "{refused:?}");
        cluster.ok(set("x86", is_once));
    }
    // A sighting that tells nothing changes nothing, and a new board in the old case counts.
    cluster.ok(seen(None));
    assert_eq!(cluster.refused(set("arm", false)), ProblemCode::Conflict);
    cluster.ok(seen(Some("aarch64")));
    cluster.ok(set("arm", false));
}
