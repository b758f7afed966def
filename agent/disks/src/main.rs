//! `meadow-disks`: carries out one request about this computer's disks.

fn main() {}
