//! Numbers and sized buffers as a TPM has them: big endian, nothing between the fields.

use zeroize::Zeroizing;

use crate::TpmError;

/// Bytes of a command; wiped when it is dropped, since some carry secrets.
#[derive(Default)]
pub(crate) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    /// With room for any command, so that it never grows and leaves a part of a secret behind.
    pub(crate) fn new() -> Self {
        Self(Zeroizing::new(Vec::with_capacity(crate::transport::LARGEST)))
    }

    pub(crate) fn u8(&mut self, number: u8) -> &mut Self {
        self.bytes(&[number])
    }

    pub(crate) fn u16(&mut self, number: u16) -> &mut Self {
        self.bytes(&number.to_be_bytes())
    }

    pub(crate) fn u32(&mut self, number: u32) -> &mut Self {
        self.bytes(&number.to_be_bytes())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// `TPM2B`: the length in two bytes, then the bytes.
    pub(crate) fn sized(&mut self, bytes: &[u8]) -> &mut Self {
        // What does not fit is refused by the TPM, which finds more bytes than it was told.
        self.u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX)).bytes(bytes)
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Reads an answer; what is missing is an error, never a panic.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], TpmError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(TpmError::BadAnswer("it is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TpmError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, TpmError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, TpmError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, TpmError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn sized(&mut self) -> Result<&'a [u8], TpmError> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_cut_ones_are_refused(number: u32, bytes in proptest::collection::vec(any::<u8>(), 0..100), cut in 0..106_usize) {
            let mut writer = Writer::new();
            writer.u32(number).sized(&bytes);
            let mut reader = Reader::new(writer.as_slice());
            prop_assert_eq!(reader.u32().unwrap(), number);
            prop_assert_eq!(reader.sized().unwrap(), &bytes[..]);
            prop_assert!(reader.rest().is_empty() && reader.u8().is_err());
            let cut = &writer.as_slice()[..cut.min(writer.as_slice().len() - 1)];
            let mut reader = Reader::new(cut);
            prop_assert!(reader.u32().and_then(|_| reader.sized().map(<[u8]>::to_vec)).is_err());
        }
    }
}
