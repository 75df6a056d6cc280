//! Looks up host names with the C library: without the crate feature `dns`, in a program that is not for an empty image.

use std::net::IpAddr;

use crate::LookupError;

pub(crate) async fn resolve(host: &str) -> Result<Vec<IpAddr>, LookupError> {
    let found = tokio::net::lookup_host((host, 0)).await;
    let found = found.map_err(|_| LookupError::NotFound(host.to_owned()))?;
    Ok(found.map(|address| address.ip()).collect())
}
