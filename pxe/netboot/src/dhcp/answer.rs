//! What each kind of client is given.

use std::borrow::Cow;
use std::net::SocketAddr;

use meadow_model::boot::BootPolicy;

use crate::arch::Firmware;
use crate::event::OfferForm;
use crate::policy::{BootDecision, ClientKind, Sighting};
use crate::route;

/// What a machine is to be given.
pub(super) struct Answer {
    /// File name or URL.
    pub(super) file: String,
    /// The artifact that must be there for it.
    pub(super) artifact: Option<&'static str>,
    pub(super) form: OfferForm,
}

/// The facts that an answer depends on.
pub(super) struct Question<'a> {
    /// Where the HTTP server listens.
    pub(super) http: SocketAddr,
    pub(super) sighting: &'a Sighting,
    pub(super) decision: BootDecision,
    /// Whether an iPXE that is treated as plain PXE still has to fetch our boot loader.
    pub(super) wants_loader: bool,
    /// The form of offer to plain PXE firmware.
    pub(super) pxe_form: OfferForm,
    /// The processors that the machine's image is for.
    pub(super) architecture: &'a str,
}

impl Question<'_> {
    /// Chooses what the machine gets, or says why it gets nothing.
    pub(super) fn answer(&self) -> Result<Answer, Cow<'static, str>> {
        match (self.decision.policy, self.sighting.client) {
            (BootPolicy::Ignore, _) => {
                return Err("nobody named this machine; `meadow pxe open` or `meadow machine arm` lets it boot".into());
            }
            (BootPolicy::LocalDisk, ClientKind::Initrd) => {}
            (BootPolicy::LocalDisk, _) => return Err("its policy is to boot from its own disk".into()),
            (BootPolicy::Image | BootPolicy::Hold, _) => {
                // It goes on to its next boot device, instead of fetching a kernel that cannot run.
                let misfit = self.sighting.firmware.and_then(|firmware| firmware.misfit(self.architecture));
                misfit.map_or(Ok(()), |why| Err(Cow::Owned(why)))?;
            }
            (BootPolicy::Script, _) => {}
        }
        match self.sighting.client {
            ClientKind::Initrd => {
                let file = route::base_url(self.http);
                Ok(Answer { file, artifact: None, form: OfferForm::Initrd })
            }
            ClientKind::Ipxe if !(self.decision.plain_pxe && self.wants_loader) => {
                let file = route::script_url(self.http, self.sighting.mac);
                Ok(Answer { file, artifact: None, form: OfferForm::Ipxe })
            }
            ClientKind::Ipxe => self.loader(OfferForm::Ipxe),
            ClientKind::HttpBoot => self.loader(OfferForm::Http),
            ClientKind::Pxe => self.loader(self.pxe_form),
        }
    }

    fn loader(&self, form: OfferForm) -> Result<Answer, Cow<'static, str>> {
        let firmware = self.sighting.firmware.unwrap_or(Firmware::Other(u16::MAX));
        let loader = firmware.loader().ok_or(firmware.unsupported_hint())?;
        let file = match form {
            OfferForm::Http => route::artifact_url(self.http, loader),
            _ => loader.to_owned(),
        };
        Ok(Answer { file, artifact: Some(loader), form })
    }
}
