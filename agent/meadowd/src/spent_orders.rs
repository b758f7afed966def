//! Orders for one boot that were carried out a moment ago: an answer may be lost, and the machine asks again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use meadow_model::boot::{BootOptions, BootPolicy};
use meadow_model::machine::MachineSpec;
use meadow_model::{MacAddress, Name};

/// How long a machine may go on asking in the boot for which the order was: EDK2 asks for a minute before it goes on to
/// its disk.
const ONE_BOOT: Duration = Duration::from_secs(120);
/// An order that is still there after this was given again.
const SAME: Duration = Duration::from_secs(10);
/// Machines that are remembered, more than boot at once.
const MACHINES: usize = 4096;

/// What was ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) policy: BootPolicy,
    /// The adopted image, where one was named.
    pub(crate) image: Option<Name>,
}

/// The orders by machine.
#[derive(Debug, Default)]
pub(crate) struct SpentOrders(Mutex<HashMap<MacAddress, Spent>>);

#[derive(Debug)]
struct Spent {
    at: Instant,
    order: Order,
    /// What the machine boots besides: once that is changed, the order is no more.
    boot: BootPolicy,
    options: BootOptions,
}

impl SpentOrders {
    /// A machine has got what it was to get once, if it was to.
    pub(crate) fn spend(&self, mac: MacAddress, spec: &MachineSpec, now: Instant) {
        let Some(policy) = spec.boot_options.once else { return };
        let order = Order { policy, image: spec.boot_options.once_image.clone() };
        let mut all = self.all();
        let is_known = all.get(&mac).is_some_and(|spent| spent.order == order && now.duration_since(spent.at) < SAME);
        if is_known {
            return;
        }
        if all.len() >= MACHINES {
            all.retain(|_, spent| now.duration_since(spent.at) < ONE_BOOT);
        }
        if all.len() < MACHINES {
            all.insert(mac, Spent { at: now, order, boot: spec.boot, options: without_once(&spec.boot_options) });
        }
    }

    /// What the machine was to get in the boot that goes on; `None` once its settings were changed since.
    pub(crate) fn of(&self, mac: MacAddress, spec: &MachineSpec, now: Instant) -> Option<Order> {
        let all = self.all();
        let spent = all.get(&mac).filter(|spent| now.duration_since(spent.at) < ONE_BOOT)?;
        let is_same = spent.boot == spec.boot && spent.options == without_once(&spec.boot_options);
        is_same.then(|| spent.order.clone())
    }

    /// The machine begins another boot.
    pub(crate) fn forget(&self, mac: MacAddress) {
        self.all().remove(&mac);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<MacAddress, Spent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn without_once(options: &BootOptions) -> BootOptions {
    BootOptions { once: None, once_image: None, ..options.clone() }
}

#[cfg(test)]
mod tests {
    use meadow_model::machine::Decision;

    use super::*;

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

    fn spec(once: Option<BootPolicy>) -> MachineSpec {
        MachineSpec {
            boot: BootPolicy::Image,
            plain_pxe: false,
            boot_options: BootOptions { once, ..BootOptions::default() },
            decision: Decision::Undecided,
            armed: None,
        }
    }

    fn policy(orders: &SpentOrders, spec: &MachineSpec, now: Instant) -> Option<BootPolicy> {
        orders.of(MAC, spec, now).map(|order| order.policy)
    }

    #[test]
    fn an_order_holds_for_one_boot_and_not_for_the_next() {
        let (orders, begin, seconds) = (SpentOrders::default(), Instant::now(), Duration::from_secs);
        assert_eq!(policy(&orders, &spec(None), begin), None);
        orders.spend(MAC, &spec(None), begin);
        assert_eq!(policy(&orders, &spec(None), begin), None, "there was none");
        orders.spend(MAC, &spec(Some(BootPolicy::LocalDisk)), begin);
        // The firmware asks again, before and after the order is taken off.
        orders.spend(MAC, &spec(Some(BootPolicy::LocalDisk)), begin + seconds(4));
        for after in [0, 4, 28, 60, 119] {
            assert_eq!(policy(&orders, &spec(None), begin + seconds(after)), Some(BootPolicy::LocalDisk), "{after}");
        }
        assert_eq!(policy(&orders, &spec(None), begin + seconds(120)), None);
        // Given again while it is remembered: that boot counts from its own begin.
        orders.spend(MAC, &spec(Some(BootPolicy::LocalDisk)), begin + seconds(90));
        assert_eq!(policy(&orders, &spec(None), begin + seconds(200)), Some(BootPolicy::LocalDisk));
        orders.forget(MAC);
        assert_eq!(policy(&orders, &spec(None), begin + seconds(200)), None);
    }

    #[test]
    fn whatever_an_admin_changes_counts_at_once() {
        let (orders, now) = (SpentOrders::default(), Instant::now());
        orders.spend(MAC, &spec(Some(BootPolicy::LocalDisk)), now);
        let mut changed = spec(None);
        changed.boot = BootPolicy::Hold;
        assert_eq!(policy(&orders, &changed, now), None);
        let mut changed = spec(None);
        changed.boot_options.kernel_arguments = "nomodeset".to_owned();
        assert_eq!(policy(&orders, &changed, now), None);
    }
}
