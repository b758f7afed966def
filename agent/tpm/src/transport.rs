//! The way to a TPM: one command out, one answer back.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use zeroize::Zeroizing;

use crate::TpmError;

/// The kernel's resource manager: what a connection leaves in the TPM goes with it.
pub const DEVICE: &str = "/dev/tpmrm0";
/// No command or answer is longer (`TPM2_MAX_COMMAND_SIZE` of common TPMs; the kernel's limit too).
pub(crate) const LARGEST: usize = 4096;
/// Tag, size, code.
const HEADER: usize = 10;

/// A stream of bytes to a TPM and back.
pub trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// A connection to a TPM.
pub struct Tpm {
    stream: Box<dyn Stream>,
}

impl Tpm {
    /// Opens this computer's TPM.
    ///
    /// # Errors
    /// [`TpmError::NoTpm`] where there is none, or it is no TPM 2.0; [`TpmError::Io`].
    pub fn open() -> Result<Self, TpmError> {
        match File::options().read(true).write(true).open(DEVICE) {
            Ok(file) => Ok(Self::over(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(TpmError::NoTpm),
            Err(error) => Err(TpmError::Io(error)),
        }
    }

    /// Whether this computer has a TPM 2.0.
    #[must_use]
    pub fn is_there() -> bool {
        Path::new(DEVICE).exists()
    }

    /// A TPM at the other end of a stream, such as a socket of swtpm(8).
    #[must_use]
    pub fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream) }
    }

    /// Sends a command and gives the answer, whole, with a header of a length that is true.
    pub(crate) fn exchange(&mut self, command: &[u8]) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        // In one piece: the device takes a command by one write.
        self.stream.write_all(command)?;
        let mut answer = Zeroizing::new(vec![0; LARGEST]);
        let mut length = 0;
        loop {
            // The device gives an answer by one read; a socket may need several.
            let room = answer.get_mut(length..).filter(|room| !room.is_empty());
            let room = room.ok_or(TpmError::BadAnswer("it is longer than any"))?;
            match self.stream.read(room) {
                Ok(0) => return Err(TpmError::BadAnswer("it broke off")),
                Ok(got) => length += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(TpmError::Io(error)),
            }
            let Some(size) = answer.get(2..6).filter(|_| length >= HEADER) else { continue };
            let size = size.iter().fold(0_usize, |size, byte| size << 8 | usize::from(*byte));
            if length > size || size < HEADER {
                return Err(TpmError::BadAnswer("its length is wrong"));
            }
            if length == size {
                answer.truncate(length);
                return Ok(answer);
            }
        }
    }
}

impl std::fmt::Debug for Tpm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[TPM]")
    }
}
