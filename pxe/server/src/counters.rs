//! What the boot server has done since its start, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use meadow_model::boot::PxeCounters;
use meadow_netboot::EventKind;
use meadow_netboot::dhcp::{LeaseAnswer, LeaseOutcome, Silence};
use meadow_netboot::event::{OfferForm, Transport};

/// One number.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters for all fields of [`PxeCounters`].
macro_rules! counting {
    ($($field:ident),* $(,)?) => {
        /// The numbers while they are counted.
        #[derive(Debug, Default)]
        pub(crate) struct Counting {
            $(pub(crate) $field: Counter,)*
        }

        impl Counting {
            /// The numbers now.
            pub(crate) fn read(&self) -> PxeCounters {
                PxeCounters { $($field: self.$field.get(),)* }
            }
        }
    };
}

counting!(
    dhcp_packets,
    offers_direct,
    offers_boot_server,
    offers_both,
    offers_http,
    offers_ipxe,
    offers_initrd,
    boot_server_answers,
    leases_offered,
    leases_given,
    leases_refused,
    dropped_malformed,
    dropped_too_large,
    dropped_not_for_us,
    dropped_left_alone,
    dropped_no_file,
    dropped_pool_empty,
    dropped_disk_busy,
    dropped_too_many,
    replies_unsent,
    solicitations_answered,
    solicitations_malformed,
    tftp_requests,
    tftp_malformed,
    tftp_refused,
    tftp_dropped,
    tftp_evicted,
    tftp_withheld,
    tftp_transfers,
    tftp_complete,
    tftp_failed,
    tftp_resent_windows,
    tftp_bytes,
    http_connections,
    http_refused,
    http_evicted,
    http_requests,
    http_malformed,
    http_missing,
    http_files,
    http_failed,
    http_slow,
    http_bytes,
    events_withheld,
);

impl Counting {
    /// Counts a datagram on a DHCP port by what it led to.
    pub(crate) fn count(&self, outcome: &LeaseOutcome) {
        self.dhcp_packets.add(1);
        for note in &outcome.notes {
            match &note.kind {
                EventKind::Offered { form, .. } => self.offers(*form).add(1),
                EventKind::Asked { via: Transport::Dhcp, .. } => self.boot_server_answers.add(1),
                _ => {}
            }
        }
        match outcome.answer {
            Some(LeaseAnswer::Offered) => self.leases_offered.add(1),
            Some(LeaseAnswer::Given) => self.leases_given.add(1),
            Some(LeaseAnswer::Refused) => self.leases_refused.add(1),
            None => {}
        }
        if let Some(silence) = outcome.silence {
            self.dropped(silence).add(1);
        }
    }

    fn offers(&self, form: OfferForm) -> &Counter {
        match form {
            OfferForm::Direct => &self.offers_direct,
            OfferForm::BootServer => &self.offers_boot_server,
            OfferForm::Both => &self.offers_both,
            OfferForm::Http => &self.offers_http,
            OfferForm::Ipxe => &self.offers_ipxe,
            OfferForm::Initrd => &self.offers_initrd,
        }
    }

    fn dropped(&self, silence: Silence) -> &Counter {
        match silence {
            Silence::Malformed => &self.dropped_malformed,
            Silence::NotForUs => &self.dropped_not_for_us,
            Silence::LeftAlone => &self.dropped_left_alone,
            Silence::NoFile => &self.dropped_no_file,
            Silence::PoolEmpty => &self.dropped_pool_empty,
            Silence::TooMany => &self.dropped_too_many,
        }
    }
}
