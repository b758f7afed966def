//! A machine that asks to enrol.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use meadow_client::{Client, Context};
use meadow_enroll::Greeting;
use meadow_model::enrolment::{Claim, ClaimReply};
use meadow_model::hardware::{Disk, Hardware, Nic};
use meadow_model::mesh::WireGuardKey;
use meadow_model::{MacAddress, Name};
use meadow_pki::{CaPin, Identity};
use meadow_rack::namespace::Namespace;

/// A machine that has asked and waits for a person, as its console would show it.
#[derive(Clone, Debug)]
pub struct EnrollingMachine {
    /// Its name at the cluster.
    pub name: Name,
    /// The code on its console.
    pub code: String,
    /// The fingerprint on its console.
    pub fingerprint: String,
    /// The address of its network card.
    pub mac: MacAddress,
}

impl EnrollingMachine {
    pub(crate) fn ask(namespace: &Namespace, context: &Path, api: &str, number: u8) -> Result<Self> {
        let ca = CaPin(Context::load(context)?.ca_fingerprint);
        // Only a thread of its own can be in another namespace than the test.
        let asked = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                namespace.enter()?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(enrol(api, ca, number))
            });
            thread.join().map_err(|_| anyhow!("the machine's thread panicked"))
        })?;
        asked.context("a machine asks to enrol")
    }
}

async fn enrol(api: &str, ca: CaPin, number: u8) -> Result<EnrollingMachine> {
    let identity = Identity::generate()?;
    let client = Client::tls(&[api.to_owned()], ca, Some(&identity))?;
    let greeting = Greeting::new(ca.0, identity.fingerprint(), [number; 32], None);
    let greeted = greeting.answered(&client.hello(&greeting.hello()).await?)?;
    let mac = MacAddress([0x52, 0x54, 0, 0, 0, number]);
    let nic = Nic { name: "eth0".to_owned(), mac, driver: None, speed_mbit: None, carrier: true };
    let serial = Some(format!("disk-{number}"));
    let disk = Disk { name: "sda".to_owned(), serial, size_bytes: 32_000_000_000, ..Disk::default() };
    let claim = Claim {
        nonce: greeted.nonce,
        proof: greeted.proof,
        ticket: None,
        wireguard: WireGuardKey([number; 32]),
        // A name of hardware that tries to clear the screen of whoever lists it.
        hardware: Hardware {
            product: Some("Board\u{1b}[2J".to_owned()),
            nics: vec![nic],
            disks: vec![disk],
            ..Hardware::default()
        },
        measures: None,
        boot: None,
        ephemeral: true,
        wanted_name: None,
    };
    match client.claim(&claim).await? {
        ClaimReply::Pending { machine, .. } => Ok(EnrollingMachine {
            name: machine,
            code: greeted.code.to_string(),
            fingerprint: identity.fingerprint().to_string(),
            mac,
        }),
        other => Err(anyhow!("the machine does not wait for a person: {other:?}")),
    }
}
