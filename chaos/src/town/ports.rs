//! Ports for processes that can't choose their own, because others must know them first.
//!
//! Must not know who gets them. Ports below the range from which kernels take the ports of outgoing connections: a
//! replica that is killed finds its port free when it comes back.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::TownError;

/// The first port that is tried.
const FIRST: u16 = 12_000;
/// The last one; Linux takes ports of outgoing connections from 32,768 up.
const LAST: u16 = 32_000;

/// Hands out ports, none of them twice.
#[derive(Debug)]
pub(super) struct Ports {
    next: u16,
    tried: u32,
}

// === impl Ports ===

impl Ports {
    /// Begins at a place that differs between towns, so that two that start together seldom want the same port.
    pub(super) fn new(seed: u32) -> Self {
        let span = u32::from(LAST - FIRST);
        // A stride that spreads neighbouring process ids over the range.
        Self { next: FIRST + (seed.wrapping_mul(157) % span) as u16, tried: 0 }
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
        let first = Ports::new(7).free().unwrap();
        let _owner = TcpListener::bind(first).unwrap();
        let mut ports = Ports::new(7);
        let given: BTreeSet<SocketAddr> = (0..50).map(|_| ports.free().unwrap()).collect();
        assert_eq!(given.len(), 50);
        assert!(!given.contains(&first));
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
        let told = Ports::new(1).this_or_free(port).unwrap_err().to_string();
        assert!(told.contains("--port 0") && told.contains(&port.to_string()), "{told}");
    }
}
