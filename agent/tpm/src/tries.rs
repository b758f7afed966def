//! How many wrong PINs the TPM takes.

use crate::TpmError;
use crate::command::{Auth, Code};
use crate::transport::Tpm;
use crate::wire::Writer;

/// `TPM_CAP_TPM_PROPERTIES`; `TPM_PT_LOCKOUT_COUNTER` and the two behind it.
const PROPERTIES: u32 = 6;
const COUNTER: u32 = 0x20e;
const MOST: u32 = 0x20f;
const INTERVAL: u32 = 0x210;

/// What the TPM says of wrong PINs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// Wrong ones that it still takes.
    pub left: u32,
    /// Seconds after which it forgets one of them.
    pub seconds: u32,
}

impl Tpm {
    /// Asks.
    ///
    /// # Errors
    /// [`TpmError`]
    pub fn tries(&mut self) -> Result<Tries, TpmError> {
        let [counter, most, seconds] = [COUNTER, MOST, INTERVAL].map(|property| self.property(property));
        Ok(Tries { left: most?.saturating_sub(counter?), seconds: seconds? })
    }

    fn property(&mut self, property: u32) -> Result<u32, TpmError> {
        let mut parameters = Writer::new();
        parameters.u32(PROPERTIES).u32(property).u32(1);
        let answer = self.run(Code::GetCapability, &[], Auth::None, &mut parameters)?;
        let mut reader = answer.reader();
        // Whether there are more; which kind; how many.
        let _ = (reader.u8()?, reader.u32()?, reader.u32()?);
        if reader.u32()? != property {
            return Err(TpmError::BadAnswer("it tells another property"));
        }
        reader.u32()
    }
}
