//! Platform configuration registers: what firmware, boot loader and we have measured since the machine started.

use std::collections::BTreeMap;

use crate::TpmError;
use crate::command::{Auth, Code};
use crate::crypto::{self, DIGEST};
use crate::storage_key::SHA256;
use crate::transport::Tpm;
use crate::wire::Writer;

/// What Secure Boot is set to, and who signed what was started.
pub const SECURE_BOOT: u8 = 7;
/// What the unified kernel image consists of, by its stub.
pub const IMAGE: u8 = 11;
/// Whether the initramfs has let go of the state's secrets: zero until [`Tpm::close`].
pub const CLOSED: u8 = 15;
/// No register has a higher number.
const LAST: u8 = 23;

/// The value of a register.
pub type Value = [u8; DIGEST];

/// Marshals `TPML_PCR_SELECTION` with the bank of SHA-256.
pub(crate) fn selection(registers: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let mut bits = [0_u8; 3];
    for register in registers {
        if let Some(byte) = bits.get_mut(usize::from(register / 8)) {
            *byte |= 1 << (register % 8);
        }
    }
    let mut writer = Writer::new();
    writer.u32(1).u16(SHA256).u8(3).bytes(&bits);
    writer.as_slice().to_vec()
}

/// The value after `data` was measured.
#[must_use]
pub fn extended(before: &Value, data: &[u8]) -> Value {
    crypto::sha256(&[before, &crypto::sha256(&[data])])
}

impl Tpm {
    /// Reads registers. Who sits on the bus can forge the answer; nothing secret follows from it.
    ///
    /// # Errors
    /// [`TpmError`]
    pub fn registers(&mut self, wanted: &[u8]) -> Result<BTreeMap<u8, Value>, TpmError> {
        let mut values = BTreeMap::new();
        for register in wanted.iter().copied().filter(|register| *register <= LAST) {
            let answer = self.run(Code::PcrRead, &[], Auth::None, Writer::new().bytes(&selection([register])))?;
            let mut reader = answer.reader();
            reader.take(4 + selection([register]).len())?;
            let count = reader.u32()?;
            if count != 1 {
                return Err(TpmError::NotMeasured(
                    "the TPM has no registers for SHA-256; switch that bank on in the firmware's setup",
                ));
            }
            let value = reader.sized()?.try_into().map_err(|_| TpmError::BadAnswer("a register has a wrong length"))?;
            values.insert(register, value);
        }
        Ok(values)
    }

    /// Measures into a register.
    ///
    /// # Errors
    /// [`TpmError`]
    pub fn extend(&mut self, register: u8, data: &[u8]) -> Result<(), TpmError> {
        let mut parameters = Writer::new();
        parameters.u32(1).u16(SHA256).bytes(&crypto::sha256(&[data]));
        self.run(Code::PcrExtend, &[u32::from(register)], Auth::Empty, &mut parameters).map(drop)
    }

    /// Makes what is sealed for the initramfs unreadable until the next start.
    ///
    /// # Errors
    /// [`TpmError`]
    pub fn close(&mut self) -> Result<(), TpmError> {
        self.extend(CLOSED, b"meadow: the initramfs ends")
    }
}
