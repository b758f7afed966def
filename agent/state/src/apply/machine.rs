//! What the PXE server sees, and what an admin wants of a machine.

use meadow_model::boot::{BootOptions, BootPolicy, MAX_KERNEL_ARGUMENTS, MAX_SCRIPT, is_command_line};
use meadow_model::machine::{Armed, Decision, Machine, MachinePhase, MachineSpec};
use meadow_model::{Kind, MacAddress, Name, Problem, ProblemCode, Timestamp};

use super::transaction::{Transaction, bad_request, check_revision, conflict, internal, not_found};
use crate::Outcome;
use crate::command::MachineRef;
use crate::limits::{MAX_TEXT, MAX_UNDECIDED};
use crate::query::machine_name;

impl Transaction {
    pub(super) fn see_machine(
        &mut self,
        mac: MacAddress,
        arch: &str,
        architecture: Option<&str>,
    ) -> Result<Outcome, Problem> {
        let architecture: Option<String> = architecture.map(|text| text.chars().take(MAX_TEXT).collect());
        if let Some(machine) = self.state.machine(&MachineRef::Mac(mac)) {
            let mut machine = machine.clone();
            let name = machine.metadata.name.clone();
            machine.status.last_seen = Some(self.at);
            machine.status.architecture = architecture.or(machine.status.architecture);
            self.put_machine(machine);
            return Ok(Outcome::Machine { name });
        }
        let name = machine_name(mac).ok_or_else(|| internal("a MAC address made no name"))?;
        if self.state.machines.contains(&name) {
            return Err(conflict(format!("{name} is another machine than the one with {mac}")));
        }
        self.make_room_for_a_stranger()?;
        let mut machine = self.new_machine(&name, Some(mac));
        machine.status.architecture = architecture;
        self.put_machine(machine);
        let arch: String = arch.chars().take(MAX_TEXT).collect();
        let message = format!("{mac} ({arch}) asks to boot; name it with `meadow machine arm {mac}` or leave it alone");
        self.info("machine-seen", Kind::Machine, &name, message);
        Ok(Outcome::Machine { name })
    }

    /// Lets the machine go that was seen longest ago, where there are too many that nobody decided about: first those
    /// that only asked for a boot, then those that asked to enrol. What an admin named stays.
    pub(super) fn make_room_for_a_stranger(&mut self) -> Result<(), Problem> {
        let strangers = || self.state.machines.values().filter(|m| is_stranger(m));
        if strangers().count() < MAX_UNDECIDED {
            return Ok(());
        }
        let age = |m: &&Machine| (m.status.phase != MachinePhase::Seen, m.status.last_seen, m.metadata.name.clone());
        let oldest = strangers().min_by_key(age).map(|m| m.metadata.name.clone());
        let oldest = oldest.ok_or_else(|| internal("no machine to let go"))?;
        self.drop_machine(&oldest);
        Ok(())
    }

    pub(super) fn set_boot(
        &mut self,
        reference: &MachineRef,
        boot: BootPolicy,
        plain_pxe: bool,
        options: &BootOptions,
        if_match: Option<u64>,
    ) -> Result<Outcome, Problem> {
        check_options(boot, options)?;
        let mut machine = self.find_or_new(reference)?;
        self.check_images(options, &machine)?;
        check_revision(&machine.metadata, if_match)?;
        let name = machine.metadata.name.clone();
        let known = self.state.machines.contains(&name);
        let spec = MachineSpec { boot, plain_pxe, boot_options: options.clone(), ..machine.spec.clone() };
        if known && machine.spec == spec {
            return Ok(Outcome::Machine { name });
        }
        machine.spec = spec;
        self.put_machine(machine);
        if let Some(once) = options.once {
            self.info("boot-once-set", Kind::Machine, &name, format!("{name} {} at its next boot", doing(once)));
        }
        let what = doing(boot);
        self.info("boot-policy-set", Kind::Machine, &name, format!("{name} {what} from its next boot on"));
        Ok(Outcome::Machine { name })
    }

    /// The images must be there, and for the machine's processors where those are known.
    fn check_images(&self, options: &BootOptions, machine: &Machine) -> Result<(), Problem> {
        for name in [&options.image, &options.once_image].into_iter().flatten() {
            let image = self.state.images.get(name).ok_or_else(|| not_found("image", name))?;
            let own = machine.status.architecture.as_ref();
            if let Some(own) = own.filter(|own| **own != image.spec.architecture) {
                return Err(conflict(format!(
                    "the image {name} is for {} processors and {} has {own} ones; choose an image for those, \
                     see `meadow image ls`",
                    image.spec.architecture, machine.metadata.name
                )));
            }
        }
        Ok(())
    }

    /// A machine has taken what it was to get once; from now on its policy counts.
    pub(super) fn booted_once(&mut self, mac: MacAddress) -> Result<Outcome, Problem> {
        let mut machine = self.find_or_new(&MachineRef::Mac(mac))?;
        let name = machine.metadata.name.clone();
        if let Some(once) = machine.spec.boot_options.once.take() {
            machine.spec.boot_options.once_image = None;
            self.put_machine(machine);
            self.info("booted-once", Kind::Machine, &name, format!("{name} {}, this once", doing(once)));
        }
        Ok(Outcome::Machine { name })
    }

    pub(super) fn arm(
        &mut self,
        reference: &MachineRef,
        ticket_hash: [u8; 32],
        armed: Armed,
        if_match: Option<u64>,
    ) -> Result<Outcome, Problem> {
        let mut machine = self.find_or_new(reference)?;
        check_revision(&machine.metadata, if_match)?;
        self.check_armed(&armed)?;
        let name = machine.metadata.name.clone();
        if self.state.tickets.iter().any(|(other, hash)| *other != name && *hash == ticket_hash) {
            return Err(conflict("this ticket is another machine's; make a new one"));
        }
        if matches!(machine.spec.decision, Decision::Rejected { .. }) {
            // Naming it now says more than having turned it away once.
            machine.spec.decision = Decision::Undecided;
            machine.status.phase =
                if machine.status.fingerprint.is_some() { MachinePhase::Pending } else { MachinePhase::Seen };
        }
        let message =
            format!("the first key that comes with the ticket of {name} becomes a node, until {}", armed.expires);
        machine.spec.boot = BootPolicy::Image;
        machine.spec.armed = Some(armed);
        self.state.tickets.insert(name.clone(), ticket_hash);
        self.put_machine(machine);
        self.info("machine-armed", Kind::Machine, &name, message);
        Ok(Outcome::Machine { name })
    }

    fn check_armed(&self, armed: &Armed) -> Result<(), Problem> {
        if armed.expires <= self.at {
            return Err(bad_request("the ticket would have expired already; give a time to come"));
        }
        if let Some(replaces) = &armed.replaces {
            if !self.state.nodes.contains(replaces) {
                return Err(not_found("node", replaces));
            }
            if armed.node.as_ref().is_some_and(|node| node != replaces) {
                return Err(bad_request(format!(
                    "a machine that replaces {replaces} takes over its name; leave the name away"
                )));
            }
        } else if let Some(node) = armed.node.as_ref().filter(|node| self.state.nodes.contains(node)) {
            return Err(Problem::new(ProblemCode::AlreadyExists, format!("there is a node {node} already")));
        }
        Ok(())
    }

    pub(super) fn reject(&mut self, name: &Name, if_match: Option<u64>) -> Result<Outcome, Problem> {
        let mut machine = self.state.machines.get(name).ok_or_else(|| not_found("machine", name))?.clone();
        check_revision(&machine.metadata, if_match)?;
        match &machine.spec.decision {
            Decision::Rejected { .. } => return Ok(Outcome::Machine { name: name.clone() }),
            Decision::Approved { node, .. } => {
                return Err(conflict(format!(
                    "{name} is the node {node}; take it out with `meadow node remove {node}`"
                )));
            }
            Decision::Undecided => {}
        }
        machine.spec.decision = Decision::Rejected { by: self.actor.clone(), at: self.at };
        machine.spec.armed = None;
        machine.status.phase = MachinePhase::Rejected;
        self.state.tickets.remove(name);
        self.put_machine(machine);
        self.info("machine-rejected", Kind::Machine, name, format!("{name} was turned away"));
        Ok(Outcome::Machine { name: name.clone() })
    }
}

/// Whether nobody decided about the machine or named it in any way.
fn is_stranger(machine: &Machine) -> bool {
    machine.spec.decision == Decision::Undecided
        && machine.spec.boot == BootPolicy::Ignore
        && !machine.spec.plain_pxe
        && machine.spec.boot_options == BootOptions::default()
        && machine.spec.armed.is_none()
}

/// Whether `expires` has come at time `at`.
pub(super) fn is_over(expires: Timestamp, at: Timestamp) -> bool {
    at >= expires
}

/// What a machine does, for people.
fn doing(policy: BootPolicy) -> &'static str {
    match policy {
        BootPolicy::Ignore => "is left alone by the PXE server",
        BootPolicy::Image => "boots the image",
        BootPolicy::LocalDisk => "boots its own disk",
        BootPolicy::Hold => "stays in the initramfs",
        BootPolicy::Script => "boots its own script",
    }
}

/// Whether these options can be carried out.
fn check_options(boot: BootPolicy, options: &BootOptions) -> Result<(), Problem> {
    let bad = |text: String| Err(Problem::new(ProblemCode::BadRequest, text));
    if matches!(options.once, Some(BootPolicy::Ignore | BootPolicy::Hold)) {
        return bad("once can be image, local-disk or script: the others are no boot".to_owned());
    }
    if options.once_image.is_some() && options.once != Some(BootPolicy::Image) {
        return bad("an image for one boot needs once to be image".to_owned());
    }
    if options.script.is_none() && (boot == BootPolicy::Script || options.once == Some(BootPolicy::Script)) {
        return bad("there is no script to boot; give one".to_owned());
    }
    if options.script.as_ref().is_some_and(|script| script.len() > MAX_SCRIPT || !script.starts_with("#!ipxe")) {
        return bad(format!("the script must begin with #!ipxe and have at most {MAX_SCRIPT} bytes"));
    }
    if options.kernel_arguments.len() > MAX_KERNEL_ARGUMENTS || !is_command_line(&options.kernel_arguments) {
        return bad(format!(
            "kernel arguments are one line of at most {MAX_KERNEL_ARGUMENTS} printable characters, without ${{, ||, && and ;"
        ));
    }
    Ok(())
}
