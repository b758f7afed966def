//! The routes of the boot server, typed.

use std::net::IpAddr;

use http::Method;
use meadow_api::wire::{CapturePart, CaptureRequest, OpenPxeRequest};
use meadow_model::MacAddress;
use meadow_model::boot::{BootEvent, MachineBoot, PxeCheck, PxeLease, PxeStatus};
use meadow_model::resource::List;

use crate::transport::Call;
use crate::{Client, ClientError, ListAll};

impl Client {
    /// The state of the PXE server.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pxe(&self) -> Result<PxeStatus, ClientError> {
        self.get("/v1/pxe").await
    }

    /// The boot log after position `since`, of one machine or of all, oldest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pxe_events(&self, mac: Option<MacAddress>, since: u64) -> Result<List<BootEvent>, ClientError> {
        let mut query = vec![("since", since.to_string())];
        query.extend(mac.map(|mac| ("mac", mac.to_string())));
        self.all("/v1/pxe/events", &ListAll::default(), &query).await
    }

    /// How far the boot of each machine is that was seen, the one that was heard last first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pxe_boots(&self, which: &ListAll) -> Result<List<MachineBoot>, ClientError> {
        self.all("/v1/pxe/boots", which, &[]).await
    }

    /// Everything that is known of the addresses that the PXE server gives out.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pxe_leases(&self, which: &ListAll) -> Result<List<PxeLease>, ClientError> {
        self.all("/v1/pxe/leases", which, &[]).await
    }

    /// Ends the lease of an address.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn release_lease(&self, address: IpAddr) -> Result<(), ClientError> {
        self.call_empty(Call::new(Method::DELETE, format!("/v1/pxe/leases/{address}"))).await
    }

    /// Everything that a boot over the network needs, looked at.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pxe_checks(&self, which: &ListAll) -> Result<List<PxeCheck>, ClientError> {
        self.all("/v1/pxe/doctor", which, &[]).await
    }

    /// Begins to capture what a machine and the PXE server say to each other.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn capture(&self, request: &CaptureRequest) -> Result<(), ClientError> {
        self.call_empty(Call::new(Method::POST, "/v1/pxe/captures").json(request)?).await
    }

    /// What was captured of a machine, from byte `from` of the file on.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn captured(&self, mac: MacAddress, from: usize) -> Result<CapturePart, ClientError> {
        self.get(&format!("/v1/pxe/captures?mac={mac}&from={from}")).await
    }

    /// Boots every machine that asks, for a while.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn open_pxe(&self, for_s: u32) -> Result<PxeStatus, ClientError> {
        self.post("/v1/pxe/open", &OpenPxeRequest { for_s }, None).await
    }

    /// Boots only the machines that were named.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn close_pxe(&self) -> Result<PxeStatus, ClientError> {
        self.call(Call::new(Method::POST, "/v1/pxe/close")).await
    }
}
