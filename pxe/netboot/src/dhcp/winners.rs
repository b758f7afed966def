//! Which form of offer worked, for each network card and firmware.

use std::collections::HashMap;

use meadow_model::MacAddress;
use serde::{Deserialize, Serialize};

use crate::arch::Firmware;
use crate::event::OfferForm;

/// Kept at most. The one that was confirmed longest ago makes room.
pub const MAX_WINNERS: usize = 4096;

/// Winners that make room at once, so that a flood of new ones costs a search now and then only.
const MAKE_ROOM: usize = 256;

/// A form that worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Winner {
    /// The machine's network card.
    pub mac: MacAddress,
    /// Its firmware: one computer may have several, such as BIOS and UEFI.
    pub firmware: Firmware,
    /// What that took.
    pub form: OfferForm,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Winners {
    by_machine: HashMap<(MacAddress, Firmware), Confirmed>,
    /// How many machines with a firmware took a form.
    counts: HashMap<(Firmware, OfferForm), usize>,
    confirmed: u64,
    changes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Confirmed {
    form: OfferForm,
    /// Counts up.
    at: u64,
}

impl Winners {
    pub(super) fn get(&self, mac: MacAddress, firmware: Firmware) -> Option<OfferForm> {
        self.by_machine.get(&(mac, firmware)).map(|confirmed| confirmed.form)
    }

    /// It worked, perhaps again.
    pub(super) fn confirm(&mut self, winner: Winner) {
        let Winner { mac, firmware, form } = winner;
        let before = self.get(mac, firmware);
        if before.is_none() && self.by_machine.len() >= MAX_WINNERS {
            self.make_room();
        }
        self.confirmed += 1;
        self.by_machine.insert((mac, firmware), Confirmed { form, at: self.confirmed });
        if before != Some(form) {
            self.uncount(firmware, before);
            *self.counts.entry((firmware, form)).or_default() += 1;
            self.changes += 1;
        }
    }

    fn make_room(&mut self) {
        let mut all: Vec<_> = self.by_machine.iter().map(|(key, confirmed)| (confirmed.at, *key)).collect();
        let at = MAKE_ROOM.min(all.len().saturating_sub(1));
        let (oldest, ..) = all.select_nth_unstable_by_key(at, |(at, _)| *at);
        for (_, key) in oldest {
            let gone = self.by_machine.remove(key).map(|confirmed| confirmed.form);
            self.uncount(key.1, gone);
        }
    }

    fn uncount(&mut self, firmware: Firmware, form: Option<OfferForm>) {
        let Some(form) = form else { return };
        if let Some(count) = self.counts.get_mut(&(firmware, form)) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&(firmware, form));
            }
        }
    }

    /// The form that machines with a firmware took, where more took the other one than the usual one.
    pub(super) fn form_of_most(&self, firmware: Firmware, usual: OfferForm) -> OfferForm {
        let other = if usual == OfferForm::Direct { OfferForm::BootServer } else { OfferForm::Direct };
        let count = |form| self.counts.get(&(firmware, form)).copied().unwrap_or(0);
        if count(other) > count(usual) { other } else { usual }
    }

    /// All, the one that was confirmed last at the end.
    pub(super) fn all(&self) -> Vec<Winner> {
        let mut all: Vec<_> = self.by_machine.iter().collect();
        all.sort_by_key(|(_, confirmed)| confirmed.at);
        let winner = |((mac, firmware), confirmed): (&(MacAddress, Firmware), &Confirmed)| Winner {
            mac: *mac,
            firmware: *firmware,
            form: confirmed.form,
        };
        all.into_iter().map(winner).collect()
    }

    /// Counts up with each new or changed one.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn winner(number: u32, form: OfferForm) -> Winner {
        let [a, b, c, d] = number.to_be_bytes();
        Winner { mac: MacAddress([2, 0, a, b, c, d]), firmware: Firmware::UefiX64, form }
    }

    #[test]
    fn those_confirmed_longest_ago_make_room_and_are_no_longer_counted() {
        let mut winners = Winners::default();
        let begin = u32::try_from(MAX_WINNERS).unwrap();
        for number in 0..begin {
            winners.confirm(winner(number, OfferForm::Direct));
        }
        winners.confirm(winner(0, OfferForm::Direct));
        assert_eq!(winners.changes(), MAX_WINNERS as u64, "confirmed again is no change");
        for number in begin..2 * begin {
            winners.confirm(winner(number, OfferForm::BootServer));
            assert!(winners.by_machine.len() <= MAX_WINNERS);
            assert_eq!(winners.counts.values().sum::<usize>(), winners.by_machine.len());
            if number == begin {
                assert!(winners.get(winner(0, OfferForm::Direct).mac, Firmware::UefiX64).is_some(), "lately confirmed");
                assert_eq!(winners.get(winner(1, OfferForm::Direct).mac, Firmware::UefiX64), None);
            }
        }
        assert_eq!(winners.form_of_most(Firmware::UefiX64, OfferForm::Direct), OfferForm::BootServer);
    }

    #[test]
    fn one_machine_may_have_two_firmwares_and_change_its_mind() {
        let mut winners = Winners::default();
        let uefi = winner(1, OfferForm::BootServer);
        let bios = Winner { firmware: Firmware::Bios, form: OfferForm::Direct, ..uefi };
        winners.confirm(uefi);
        winners.confirm(bios);
        assert_eq!(winners.all(), [uefi, bios]);
        let changed = Winner { form: OfferForm::Direct, ..uefi };
        winners.confirm(changed);
        assert_eq!((winners.all(), winners.changes()), (vec![bios, changed], 3));
        assert_eq!(winners.counts.get(&(Firmware::UefiX64, OfferForm::BootServer)), None);
    }
}
