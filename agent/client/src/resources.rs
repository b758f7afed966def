//! The routes, typed.

mod enrolment;
mod machines;
mod nodes;
mod operations;
mod own_computer;
mod pxe;
mod tokens;

use http::Method;
use meadow_api::list::ListQuery;
use meadow_api::wire::{ClusterPatch, ClusterSpecPatch};
use meadow_model::cluster::Cluster;
use meadow_model::resource::List;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::transport::Call;
use crate::{Client, ClientError};

/// Which items of a list to fetch, over all its pages.
#[derive(Clone, Debug, Default)]
pub struct ListAll {
    /// As in [`ListQuery::filter`].
    pub filter: Option<String>,
    /// As in [`ListQuery::sort`].
    pub sort: Option<String>,
}

/// Items of one page.
const PAGE: usize = 500;
/// Most pages: a server that always names a next page must not keep a client for ever.
const MAX_PAGES: usize = 200;

impl Client {
    /// The cluster.
    ///
    /// # Errors
    /// [`ClientError`], as in all of these.
    pub async fn cluster(&self) -> Result<Cluster, ClientError> {
        self.get("/v1/cluster").await
    }

    /// Makes these the admins' SSH keys of the cluster whose revision was read.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn set_ssh_keys(&self, keys: Vec<String>, revision: u64) -> Result<Cluster, ClientError> {
        let patch = ClusterPatch { spec: ClusterSpecPatch { authorized_keys: Some(keys) } };
        self.call(Call::new(Method::PATCH, "/v1/cluster").if_match(Some(revision)).json(&patch)?).await
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Call::new(Method::GET, path)).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        revision: Option<u64>,
    ) -> Result<T, ClientError> {
        self.call(Call::new(Method::POST, path).if_match(revision).json(body)?).await
    }

    /// All pages of a list as one; its revision is that of the last page.
    pub(crate) async fn all<T: DeserializeOwned>(
        &self,
        path: &str,
        which: &ListAll,
        more: &[(&str, String)],
    ) -> Result<List<T>, ClientError> {
        let mut query =
            ListQuery { limit: Some(PAGE), page: None, filter: which.filter.clone(), sort: which.sort.clone() };
        let mut items = Vec::new();
        for _ in 0..MAX_PAGES {
            let list: List<T> = self.get(&format!("{path}?{}", encode(&query, more))).await?;
            items.extend(list.items);
            query.page = list.next_page;
            if query.page.is_none() {
                return Ok(List { version: list.version, revision: list.revision, items, next_page: None });
            }
        }
        Err(ClientError::Protocol(path.to_owned(), format!("the list has more than {MAX_PAGES} pages")))
    }
}

/// A query string (RFC 3986 section 3.4).
fn encode(query: &ListQuery, more: &[(&str, String)]) -> String {
    let fields = [
        ("limit", query.limit.map(|limit| limit.to_string())),
        ("page", query.page.clone()),
        ("filter", query.filter.clone()),
        ("sort", query.sort.clone()),
    ];
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let pairs = fields.chain(more.iter().cloned()).map(|(name, value)| format!("{name}={}", percent_encode(&value)));
    pairs.collect::<Vec<_>>().join("&")
}

pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_survives_every_character() {
        let query = ListQuery { filter: Some("actor=user a&b,ü".to_owned()), ..ListQuery::default() };
        assert_eq!(encode(&query, &[("since", "7".to_owned())]), "filter=actor%3Duser%20a%26b%2C%C3%BC&since=7");
    }
}
