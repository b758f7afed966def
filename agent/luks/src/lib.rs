//! LUKS2 for the state partition, over libcryptsetup.
