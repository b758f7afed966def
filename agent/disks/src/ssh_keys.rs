//! The admins' SSH keys in this node's record: who may unlock it from its next start on.

use meadow_model::Fingerprint;
use meadow_model::preboot::Preboot;

use crate::machine::Machine;
use crate::{DiskError, own_disk};

/// Makes `keys` those of the record. Cut off anywhere, the record is the one of before or the new one.
pub(crate) fn set(machine: &dyn Machine, keys: &[String], ca: Fingerprint) -> Result<(), DiskError> {
    let own = own_disk::require(machine)?;
    if own.record.ca_fingerprint != ca {
        return Err(DiskError::refused(format!(
            "the disk {} is of a node of the cluster {}, whose SSH keys stay on it; unplug it, or wipe it with `meadow node \
             install`",
            own.disk.name, own.record.cluster
        )));
    }
    own.write_record(machine, &Preboot { authorized_keys: keys.to_vec(), ..own.record.clone() })
}
