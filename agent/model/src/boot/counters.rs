//! What the boot server did, in numbers.

use serde::{Deserialize, Serialize};

/// Numbers since the start of the boot server. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct PxeCounters {
    /// Datagrams on the DHCP ports, 67 and 4011.
    pub dhcp_packets: u64,
    /// Offers of a boot file that is taken as it is offered (option 43).
    pub offers_direct: u64,
    /// Offers after which the firmware asks again on port 4011.
    pub offers_boot_server: u64,
    /// Offers in both forms, one behind the other.
    pub offers_both: u64,
    /// Offers of a URL, to UEFI that boots over HTTP.
    pub offers_http: u64,
    /// Offers to iPXE.
    pub offers_ipxe: u64,
    /// Offers to our initramfs.
    pub offers_initrd: u64,
    /// Answers on port 4011.
    pub boot_server_answers: u64,
    /// Addresses offered, as full DHCP.
    pub leases_offered: u64,
    /// Leases acknowledged, those that were renewed among them.
    pub leases_given: u64,
    /// Requests for an address that were refused (NAK).
    pub leases_refused: u64,
    /// Datagrams dropped because they are no DHCP request of an Ethernet client.
    pub dropped_malformed: u64,
    /// Datagrams dropped because they are longer than 2048 bytes, which no DHCP request is.
    pub dropped_too_large: u64,
    /// Requests dropped because they are for another server, or nothing for a boot server.
    pub dropped_not_for_us: u64,
    /// Requests dropped because the machine is to be left alone.
    pub dropped_left_alone: u64,
    /// Requests dropped because the file that the machine needs is not there.
    pub dropped_no_file: u64,
    /// Requests dropped because the pool has no address left.
    pub dropped_pool_empty: u64,
    /// Requests dropped because the disk was slower than they came.
    pub dropped_disk_busy: u64,
    /// Requests dropped because more came by relays at once than are answered: more than a few mean forged ones.
    pub dropped_too_many: u64,
    /// Answers on UDP that the network did not take at once: more than a few mean forged senders.
    pub replies_unsent: u64,
    /// Router solicitations of booting machines that were told that there is no IPv6 router.
    pub solicitations_answered: u64,
    /// Messages to the routers of the link that are no valid solicitation.
    pub solicitations_malformed: u64,
    /// Datagrams on the TFTP port that may have begun a transfer.
    pub tftp_requests: u64,
    /// Of them no request at all: malformed, or left over from another transfer.
    pub tftp_malformed: u64,
    /// Of them answered with an error: no such file, not yet checked, a write.
    pub tftp_refused: u64,
    /// Of them dropped, because too many transfers ran.
    pub tftp_dropped: u64,
    /// Transfers forgotten before the client answered, because a newer request needed the room: more than a few mean
    /// forged requests.
    pub tftp_evicted: u64,
    /// Requests that got no answer, because the answer would be larger than they are, or leave the link, and there were
    /// too many of those: more than a few mean forged ones.
    pub tftp_withheld: u64,
    /// Transfers whose client has answered.
    pub tftp_transfers: u64,
    /// Of them complete, or sent whole with only the last acknowledgement missing.
    pub tftp_complete: u64,
    /// Transfers that failed, with and without an answer.
    pub tftp_failed: u64,
    /// Windows sent again: packets were lost.
    pub tftp_resent_windows: u64,
    /// Bytes of the files that were sent whole.
    pub tftp_bytes: u64,
    /// HTTP connections taken.
    pub http_connections: u64,
    /// HTTP connections closed at once, because there were too many of one client, or it is not of the link.
    pub http_refused: u64,
    /// HTTP connections closed because a newcomer needed the place: more than a few mean clients that hold them for nothing.
    pub http_evicted: u64,
    /// HTTP requests answered.
    pub http_requests: u64,
    /// HTTP requests refused: malformed, too long, of another version, or with a method or body that is not served.
    pub http_malformed: u64,
    /// HTTP requests for what is not there.
    pub http_missing: u64,
    /// Files, or parts that were asked for, sent whole.
    pub http_files: u64,
    /// Files, or parts, whose client broke off.
    pub http_failed: u64,
    /// HTTP connections closed because the client was too slow.
    pub http_slow: u64,
    /// Bytes of files.
    pub http_bytes: u64,
    /// Events that were not recorded, because too many came at once, or nobody had proved to be where they seemed to
    /// come from and there was one in the same second.
    pub events_withheld: u64,
}

impl PxeCounters {
    /// Offers in any form.
    #[must_use]
    pub fn offers(&self) -> u64 {
        self.offers_direct
            + self.offers_boot_server
            + self.offers_both
            + self.offers_http
            + self.offers_ipxe
            + self.offers_initrd
    }

    /// Requests that got no answer, for any reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped_malformed
            + self.dropped_too_large
            + self.dropped_not_for_us
            + self.dropped_left_alone
            + self.dropped_no_file
            + self.dropped_pool_empty
            + self.dropped_disk_busy
            + self.dropped_too_many
    }
}
