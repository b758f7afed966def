//! A machine's TPM, asked to seal before the machine is switched on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use meadow_rack::process::Program;
use meadow_rack::{Rack, paths, tpm};
use meadow_tpm::{Conditions, ImageKey, Pin, Sealed, Tpm, uki};

/// A TPM that seals for the image that was built; it ends with the value.
#[derive(Debug)]
pub struct Sealer {
    tpm: Tpm,
    image_key: ImageKey,
    pin: Option<Pin>,
    _program: Program,
}

impl Sealer {
    /// Switches the TPM on without its machine.
    ///
    /// # Errors
    /// When swtpm(8) does not start, or there is no image.
    pub fn start(rack: &mut Rack, chip: &tpm::Tpm, pin: Option<Pin>) -> Result<Self> {
        let (run, lan) = rack.parts();
        let program = chip.start_alone(run, lan.namespace())?;
        let image = fs::read(paths::image().join("uki.efi")).context("there is no image; `make image` makes it")?;
        let key = uki::section(&image, ".pcrpkey")?.context("the image has no key for PCR 11")?;
        let tpm = Tpm::over(UnixStream::connect(chip.commands())?);
        Ok(Self { tpm, image_key: ImageKey::from_pem(key)?, pin, _program: program })
    }

    /// What opens a key slot, for the PIN where there is one.
    ///
    /// # Errors
    /// What the TPM says.
    pub fn seal_key(&mut self, key: &[u8]) -> Result<Sealed> {
        let conditions = Conditions { image_key: &self.image_key, registers: BTreeMap::new(), pin: self.pin.as_ref() };
        Ok(self.tpm.seal(key, &conditions)?)
    }

    /// A host key, which needs no PIN.
    ///
    /// # Errors
    /// What the TPM says.
    pub fn seal_host_key(&mut self, key: &[u8]) -> Result<Sealed> {
        let conditions = Conditions { image_key: &self.image_key, registers: BTreeMap::new(), pin: None };
        Ok(self.tpm.seal(key, &conditions)?)
    }

    /// Whether the TPM will give `sealed` to this image.
    ///
    /// # Errors
    /// Why not.
    pub fn expect_signed(&mut self, sealed: &Sealed, image: &[u8]) -> Result<()> {
        Ok(self.tpm.expect_signed(sealed, image)?)
    }
}
