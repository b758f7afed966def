//! Hands out whole images to the nodes of the mesh. They are no secret, and whoever fetches one checks it: plain HTTP.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use meadow_client::ARTIFACT_PORT;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::services::ServeDir;
use tracing::debug;

use meadow_model::mesh::MeshView;

/// How long to wait before the address is tried again: it comes with the mesh.
const RETRY: Duration = Duration::from_secs(5);
/// Answers at a time. Few nodes update at once, and a small computer has other things to do.
const AT_ONCE: usize = 8;

/// Serves the folder of whole images under `/images/` on the mesh address of this node, for ever.
pub(crate) async fn run(images: PathBuf, mut views: watch::Receiver<Option<MeshView>>) {
    let files = ServeDir::new(images).append_index_html_on_directories(false);
    let router: Router = Router::new().nest_service("/images", files).layer(GlobalConcurrencyLimitLayer::new(AT_ONCE));
    loop {
        let address = views.borrow_and_update().as_ref().map(|view| view.address);
        match address {
            Some(address) => serve(address, &router).await,
            None if views.changed().await.is_err() => return,
            None => {}
        }
    }
}

async fn serve(address: Ipv6Addr, router: &Router) {
    match TcpListener::bind((address, ARTIFACT_PORT)).await {
        Ok(listener) => drop(axum::serve(listener, router.clone()).await),
        Err(error) => debug!(%address, "images are not handed out yet: {error}"),
    }
    tokio::time::sleep(RETRY).await;
}
