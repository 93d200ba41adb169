//! Ports for processes that can't choose their own, because others must know them first.
//!
//! Must not know who gets them. Ports below the range from which kernels take the ports of outgoing connections: a
//! replica that is killed finds its port free when it comes back.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use super::TownError;

/// The first port that is tried.
const FIRST: u16 = 12_000;
/// The last one; Linux takes ports of outgoing connections from 32,768 up.
const LAST: u16 = 32_000;

/// How far apart the towns of one process begin.
const APART: u32 = 6_151;
/// Towns that this process began.
static TOWNS: AtomicU32 = AtomicU32::new(0);

/// Hands out ports, none of them twice.
#[derive(Debug)]
pub(super) struct Ports {
    next: u16,
    tried: u32,
}

// === impl Ports ===

impl Ports {
    /// Begins at a place that differs between towns, of this process and of others, so that two that start together
    /// seldom want the same port.
    pub(super) fn of_a_new_town() -> Self {
        // A stride that spreads neighbouring process ids over the range.
        let process = std::process::id().wrapping_mul(157);
        Self::from(process.wrapping_add(TOWNS.fetch_add(1, Ordering::Relaxed).wrapping_mul(APART)))
    }

    fn from(seed: u32) -> Self {
        Self { next: FIRST + (seed % u32::from(LAST - FIRST)) as u16, tried: 0 }
    }

    /// An address on loopback that nobody listens on.
    ///
    /// # Errors
    /// [`TownError::Ports`] when all are taken.
    pub(super) fn free(&mut self) -> Result<SocketAddr, TownError> {
        while self.tried <= u32::from(LAST - FIRST) {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.next));
            self.next = if self.next == LAST { FIRST } else { self.next + 1 };
            self.tried += 1;
            if TcpListener::bind(address).is_ok() {
                return Ok(address);
            }
        }
        Err(TownError::Ports { from: FIRST, to: LAST })
    }

    /// The port that somebody asked for, or a free one when `wanted` is 0.
    ///
    /// # Errors
    /// [`TownError::Port`] when it is taken.
    pub(super) fn this_or_free(&mut self, wanted: u16) -> Result<SocketAddr, TownError> {
        if wanted == 0 {
            return self.free();
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, wanted));
        TcpListener::bind(address).map(|_| address).map_err(|source| TownError::Port { port: wanted, source })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_given_twice_or_taken_from_its_owner() {
        let first = Ports::from(7).free().unwrap();
        let _owner = TcpListener::bind(first).unwrap();
        let mut ports = Ports::from(7);
        let given: BTreeSet<SocketAddr> = (0..50).map(|_| ports.free().unwrap()).collect();
        assert_eq!(given.len(), 50);
        assert!(!given.contains(&first));
    }

    #[test]
    fn towns_of_one_process_begin_far_apart() {
        let begins = [Ports::of_a_new_town().next, Ports::of_a_new_town().next];
        assert!(begins[0].abs_diff(begins[1]) > 1_000, "{begins:?}");
    }

    #[test]
    fn the_range_is_walked_round_its_end() {
        let mut ports = Ports { next: LAST, tried: 0 };
        assert!(ports.free().is_ok() && ports.free().is_ok());
        assert!((FIRST..LAST).contains(&ports.next));
    }

    #[test]
    fn a_port_that_was_asked_for_and_is_taken_is_an_error_with_a_cure() {
        let owner = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = owner.local_addr().unwrap().port();
        let told = Ports::from(1).this_or_free(port).unwrap_err().to_string();
        assert!(told.contains("--port 0") && told.contains(&port.to_string()), "{told}");
    }
}
