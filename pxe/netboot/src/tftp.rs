//! TFTP, reading only (RFC 1350), with the options of RFC 2347, 2348, 2349 and 7440.

mod output;
mod pace;
mod packet;
mod transfer;
#[cfg(test)]
mod transfer_tests;

pub use output::{Ending, Output, Window};
pub use packet::{ErrorCode, ReadRequest, RequestError, RequestedOptions, data_header, error_packet};
pub use transfer::{MAX_BLOCK_SIZE, MAX_WINDOW, Transfer};
