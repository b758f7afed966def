//! A machine that is played by the test: the real protocol over real TLS, with chosen keys and hardware.

use anyhow::{Context, Result};
use meadow_client::{Client, ClientError};
use meadow_enroll::Greeting;
use meadow_host::wireguard::PrivateKey;
use meadow_host::{Entropy, SystemEntropy};
use meadow_model::boot::{BootConfig, BootReport};
use meadow_model::enrolment::{Admission, Claim, ClaimReply};
use meadow_model::hardware::{self, Nic};
use meadow_model::{MacAddress, Problem, Secret};
use meadow_pki::{CaPin, Identity};

use crate::{Computer, within};

/// What tells computers apart, or does not.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// The address of its only card.
    pub mac: &'static str,
    /// SMBIOS UUID.
    pub uuid: &'static str,
}

/// A machine that wants to enrol.
#[derive(Debug)]
pub struct PlayedMachine {
    identity: Identity,
    wireguard: PrivateKey,
    mac: MacAddress,
    uuid: String,
    vendor: Option<String>,
}

/// Characters in an inventory that is as large as one may be, almost.
const BULK: usize = 20_000;

impl PlayedMachine {
    /// A machine with new keys.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(hardware: &Hardware) -> Result<Self> {
        Ok(Self {
            identity: Identity::generate()?,
            wireguard: PrivateKey::generate(&SystemEntropy)?,
            mac: hardware.mac.parse()?,
            uuid: hardware.uuid.to_owned(),
            vendor: None,
        })
    }

    /// A machine whose inventory is as large as one may be, almost. Each number is other hardware.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn bulky(number: u16) -> Result<Self> {
        let [high, low] = number.to_be_bytes();
        Ok(Self {
            identity: Identity::generate()?,
            wireguard: PrivateKey::generate(&SystemEntropy)?,
            mac: MacAddress([0x52, 0x54, 0, 1, high, low]),
            uuid: format!("00000001-0000-0000-0000-{number:012}"),
            vendor: Some("x".repeat(BULK)),
        })
    }

    /// The same identity with another key in the mesh.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn with_other_mesh_key(&self) -> Result<Self> {
        let identity = Identity::from_key_pem(self.identity.key_pem().expose())?;
        let wireguard = PrivateKey::generate(&SystemEntropy)?;
        Ok(Self { identity, wireguard, mac: self.mac, uuid: self.uuid.clone(), vendor: self.vendor.clone() })
    }

    /// Another identity with the same key in the mesh.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn with_other_identity(&self) -> Result<Self> {
        let (identity, wireguard) = (Identity::generate()?, self.wireguard.clone());
        Ok(Self { identity, wireguard, mac: self.mac, uuid: self.uuid.clone(), vendor: self.vendor.clone() })
    }

    /// The fingerprint of its identity, as it is written.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.identity.fingerprint().to_string()
    }

    /// What the boot server of `seed` tells it, asked from the computer `at`.
    ///
    /// # Errors
    /// When the machine is not to boot.
    pub fn boot_config(&self, at: &Computer, seed: &Computer) -> Result<BootConfig> {
        let url = format!("http://{}:7480/machine/{}/boot.json", seed.address(), self.mac.hyphenated());
        Ok(serde_json::from_value(at.run("curl", &["-sSf", &url])?.json()?)?)
    }

    /// Says hello and claims, from the computer `at`, once; the outer error is one of the network.
    ///
    /// # Errors
    /// When there is no answer of the cluster.
    pub fn enrol(
        &self,
        at: &Computer,
        config: &BootConfig,
        ticket: Option<Secret<String>>,
    ) -> Result<Result<ClaimReply, Box<Problem>>> {
        asked(at, self.talk(config, ticket))
    }

    /// Asks where its claim stands, from the computer `at`, with its key and nothing else.
    ///
    /// # Errors
    /// When there is no answer of the cluster.
    pub fn standing(&self, at: &Computer, config: &BootConfig) -> Result<Result<ClaimReply, Box<Problem>>> {
        asked(at, async { answer(self.client(config)?.claim_state().await) })
    }

    /// The identity that it has as the node that was admitted.
    ///
    /// # Errors
    /// When the certificate is for another key.
    pub fn identity_of(&self, admission: &Admission) -> Result<Identity> {
        let chain = format!("{}\n{}", admission.certificate_pem, admission.ca_pem);
        Ok(Identity::with_chain(self.identity.key_pem().expose(), &chain)?)
    }

    fn client(&self, config: &BootConfig) -> Result<Client> {
        Ok(Client::tls(&config.cluster.api, CaPin(config.cluster.ca_fingerprint), Some(&self.identity))?)
    }

    async fn talk(
        &self,
        config: &BootConfig,
        ticket: Option<Secret<String>>,
    ) -> Result<Result<ClaimReply, Box<Problem>>> {
        let ca = config.cluster.ca_fingerprint;
        let client = self.client(config)?;
        let mut nonce = [0; 32];
        SystemEntropy.fill(&mut nonce)?;
        let greeting = Greeting::new(ca, self.identity.fingerprint(), nonce, None);
        let greeted = greeting.answered(&client.hello(&greeting.hello()).await.context("hello")?)?;
        let claim = Claim {
            nonce: greeted.nonce,
            proof: greeted.proof,
            ticket,
            wireguard: self.wireguard.public_key(),
            hardware: self.hardware(),
            measures: None,
            boot: Some(BootReport { mac: Some(self.mac), ..BootReport::default() }),
            ephemeral: true,
            wanted_name: None,
        };
        answer(client.claim(&claim).await)
    }

    fn hardware(&self) -> hardware::Hardware {
        let nic = Nic {
            name: "eth0".to_owned(),
            mac: self.mac,
            driver: Some("e1000e".to_owned()),
            speed_mbit: Some(1000),
            carrier: true,
        };
        hardware::Hardware {
            vendor: self.vendor.clone(),
            uuid: Some(self.uuid.clone()),
            nics: vec![nic],
            ..hardware::Hardware::default()
        }
    }
}

/// What comes of a question that is asked from the computer `at`.
fn asked<T: Send>(at: &Computer, question: impl Future<Output = Result<T>> + Send) -> Result<T> {
    within(at.namespace(), || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(question)
    })
}

/// Tells what the cluster refused from what went wrong on the way.
fn answer(answered: Result<ClaimReply, ClientError>) -> Result<Result<ClaimReply, Box<Problem>>> {
    match answered {
        Ok(reply) => Ok(Ok(reply)),
        Err(ClientError::Problem(problem)) => Ok(Err(problem)),
        Err(error) => Err(error).context("claim"),
    }
}
