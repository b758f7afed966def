//! Randomness for keys, tokens and nonces.

/// Where random bytes come from; a simulation hands in a seeded one.
pub trait Entropy: Send + Sync {
    /// Fills `buffer` with bytes fit for keys.
    ///
    /// # Errors
    /// Where the kernel has no random numbers to give. There is no fallback: a weak key is worse than none.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError>;
}

/// The kernel gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the kernel gave no random bytes ({0}); /dev/urandom or getrandom(2) must be allowed for this process")]
pub struct EntropyError(#[from] getrandom::Error);

/// The kernel's generator, which waits until it has been seeded.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        Ok(getrandom::fill(buffer)?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Entropy, SystemEntropy};

    #[test]
    fn two_draws_differ() {
        let mut draws = [[0u8; 32]; 2];
        for draw in &mut draws {
            SystemEntropy.fill(draw).expect("the kernel has random bytes");
        }
        assert_ne!(draws[0], draws[1]);
    }
}
