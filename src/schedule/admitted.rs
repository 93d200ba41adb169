//! Which endpoints the gateway's subset admits, resolved once for a decision.
//!
//! Must not know loads. Gateways may send the whole pool with each request, so both lists are walked side by side; a
//! search for each endpoint would cost endpoints times addresses.

use crate::fleet::{Entry, Fleet};
use crate::id::Slot;
use crate::request::Subset;

/// A subset this many times smaller than the pool is looked up address by address.
const LOOKUP_BELOW: usize = 8;

/// The endpoints that one request may go to.
pub(super) enum Admitted<'a> {
    /// There is no subset.
    All,
    /// These slots.
    Slots(Vec<bool>),
    /// Several endpoints share an address, so an address does not name one slot.
    Addresses(&'a Subset),
}

// === impl Admitted ===

impl<'a> Admitted<'a> {
    /// Resolves `subset` in `fleet`.
    pub(super) fn new(fleet: &Fleet, subset: Option<&'a Subset>) -> Self {
        let Some(subset) = subset else { return Self::All };
        if fleet.addresses().len() != fleet.len() {
            return Self::Addresses(subset);
        }
        let mut slots = vec![false; fleet.width()];
        let mut admit = |slot: Slot| slots[slot.index()] = true;
        let wanted = subset.addresses();
        if wanted.len() * LOOKUP_BELOW < fleet.len() {
            wanted.iter().filter_map(|address| fleet.at(*address)).for_each(admit);
        } else {
            let mut wanted = wanted.iter().peekable();
            for (address, slot) in fleet.addresses() {
                while wanted.next_if(|wanted| *wanted < address).is_some() {}
                if wanted.peek() == Some(&address) {
                    admit(*slot);
                }
            }
        }
        Self::Slots(slots)
    }

    /// Whether the endpoint in `slot` is one of them.
    pub(super) fn has(&self, slot: Slot, entry: &Entry) -> bool {
        match self {
            Self::All => true,
            Self::Slots(slots) => slots[slot.index()],
            Self::Addresses(subset) => subset.contains(&entry.endpoint.address),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::fleet::Endpoint;
    use crate::id::EndpointId;

    fn address(n: u8) -> SocketAddr {
        if n.is_multiple_of(3) { ([0, 0, 0, 0, 0, 0, 0, n.into()], 8000).into() } else { ([10, 0, 0, n], 8000).into() }
    }

    fn fleet(addresses: &[u8]) -> Fleet {
        let mut fleet = Fleet::default();
        for (i, n) in addresses.iter().enumerate() {
            let id = EndpointId::new("default", &format!("e{i}"));
            fleet.upsert(Endpoint { id, address: address(*n), labels: BTreeMap::new() }, &mut Vec::new());
        }
        fleet
    }

    proptest! {
        /// Few and many addresses, unknown ones, repeated ones, and endpoints that share one.
        #[test]
        fn a_subset_admits_exactly_the_endpoints_at_its_addresses(
            pool in vec(0..40_u8, 0..40), wanted in vec(0..60_u8, 0..60),
        ) {
            let (fleet, subset) = (fleet(&pool), wanted.iter().copied().map(address).collect::<Subset>());
            let admitted = Admitted::new(&fleet, Some(&subset));
            for (slot, entry) in fleet.iter() {
                let listed = wanted.iter().any(|n| address(*n) == entry.endpoint.address);
                prop_assert_eq!(admitted.has(slot, entry), listed);
            }
        }
    }

    #[test]
    fn without_a_subset_all_are_admitted_and_an_empty_one_admits_none() {
        let fleet = fleet(&[1, 2]);
        let none = Subset::default();
        let (all, nothing) = (Admitted::new(&fleet, None), Admitted::new(&fleet, Some(&none)));
        assert!(fleet.iter().all(|(slot, entry)| all.has(slot, entry) && !nothing.has(slot, entry)));
    }
}
