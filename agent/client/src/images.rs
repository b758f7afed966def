//! The routes of images, typed.

use bytes::Bytes;
use http::Method;
use meadow_model::Name;
use meadow_model::image::{AdoptRequest, Image, IncomingImage, OfferedImage, RolloutRequest};
use meadow_model::operation::Operation;
use meadow_model::resource::List;
use serde::Deserialize;

use crate::resources::{ListAll, percent_encode};
use crate::transport::Call;
use crate::{Client, ClientError};

#[derive(Deserialize)]
struct Have {
    have: u64,
}

impl Client {
    /// All images.
    ///
    /// # Errors
    /// [`ClientError`], as in all of these.
    pub async fn images(&self, which: &ListAll) -> Result<List<Image>, ClientError> {
        self.all("/v1/images", which, &[]).await
    }

    /// One image.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn image(&self, name: &Name) -> Result<Image, ClientError> {
        self.get(&format!("/v1/images/{name}")).await
    }

    /// Begins to bring an image, or goes on with it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn offer_image(&self, offered: &OfferedImage) -> Result<IncomingImage, ClientError> {
        self.post("/v1/images/incoming", offered, None).await
    }

    /// Brings a piece of a file, at most 1 MiB; bytes of the file that are there.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn put_image_piece(
        &self,
        digest: &str,
        name: &str,
        offset: u64,
        piece: Bytes,
    ) -> Result<u64, ClientError> {
        let path = format!("/v1/images/incoming?digest={digest}&name={}&offset={offset}", percent_encode(name));
        let have: Have = self.call(Call::new(Method::PUT, path).octets(piece)).await?;
        Ok(have.have)
    }

    /// Adopts an image that was brought in full.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn adopt_image(&self, digest: &str) -> Result<Image, ClientError> {
        self.post("/v1/images", &AdoptRequest { digest: digest.to_owned() }, None).await
    }

    /// Forgets an image whose revision was read.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn remove_image(&self, name: &Name, revision: u64) -> Result<(), ClientError> {
        let call = Call::new(Method::DELETE, format!("/v1/images/{name}")).if_match(Some(revision));
        self.call_empty(call).await
    }

    /// Rolls an image out.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn rollout(&self, name: &Name, request: &RolloutRequest) -> Result<Operation, ClientError> {
        self.post(&format!("/v1/images/{name}/rollout"), request, None).await
    }

    /// Brings all nodes back to the image before.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn rollback(&self, request: &RolloutRequest) -> Result<Operation, ClientError> {
        self.post("/v1/images/rollback", request, None).await
    }

    /// Ends the rollout that runs, where it is; gives its operation, which names the nodes that were left out.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call_off_rollout(&self) -> Result<Operation, ClientError> {
        self.call(Call::new(Method::POST, "/v1/images/call-off".to_owned())).await
    }
}
