//! The gateway's subset hint: the addresses that a request may go to.
//!
//! Sorted once, when the request is read, so that a decision walks both lists once instead of searching for each pair.

use std::net::SocketAddr;

/// The addresses, sorted and without duplicates. An empty subset admits no endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subset(Vec<SocketAddr>);

// === impl Subset ===

impl Subset {
    /// The addresses, in ascending order.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }

    /// Whether `address` is among them, port included.
    pub fn contains(&self, address: &SocketAddr) -> bool {
        self.0.binary_search(address).is_ok()
    }
}

impl FromIterator<SocketAddr> for Subset {
    fn from_iter<I: IntoIterator<Item = SocketAddr>>(addresses: I) -> Self {
        let mut addresses: Vec<SocketAddr> = addresses.into_iter().collect();
        addresses.sort_unstable();
        addresses.dedup();
        Self(addresses)
    }
}

impl From<Vec<SocketAddr>> for Subset {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        addresses.into_iter().collect()
    }
}
