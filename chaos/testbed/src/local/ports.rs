//! Ports for processes that can't choose their own, because others must know them first.
//!
//! Must not know who uses them. All ports are below the range that kernels use for outgoing connections, so that a
//! killed replica finds its port free when it restarts.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use super::TestbedError;

/// The first port that is tried.
const FIRST: u16 = 12_000;
/// The last one; Linux uses ports from 32,768 up for outgoing connections.
const LAST: u16 = 32_000;

/// How far apart the first ports of two testbeds of one process are.
const APART: u32 = 6_151;
/// Testbeds that this process started.
static TESTBEDS: AtomicU32 = AtomicU32::new(0);

/// Hands out ports, none of them twice.
#[derive(Debug)]
pub struct Ports {
    next: u16,
    tried: u32,
}

// === impl Ports ===

impl Ports {
    /// Begins at a port that differs between testbeds, of this process and of others, so that concurrent starts seldom
    /// want the same port.
    pub fn for_new_testbed() -> Self {
        // A stride that spreads neighbouring process ids over the range.
        let process = std::process::id().wrapping_mul(157);
        Self::from(process.wrapping_add(TESTBEDS.fetch_add(1, Ordering::Relaxed).wrapping_mul(APART)))
    }

    fn from(seed: u32) -> Self {
        Self { next: FIRST + (seed % u32::from(LAST - FIRST)) as u16, tried: 0 }
    }

    /// A loopback address that is free.
    ///
    /// # Errors
    /// [`TestbedError::Ports`] when all are taken.
    pub fn free(&mut self) -> Result<SocketAddr, TestbedError> {
        while self.tried <= u32::from(LAST - FIRST) {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.next));
            self.next = if self.next == LAST { FIRST } else { self.next + 1 };
            self.tried += 1;
            if TcpListener::bind(address).is_ok() {
                return Ok(address);
            }
        }
        Err(TestbedError::Ports { from: FIRST, to: LAST })
    }

    /// The port `wanted`, or a free one if it is 0.
    ///
    /// # Errors
    /// [`TestbedError::Port`] when it is taken.
    pub(super) fn this_or_free(&mut self, wanted: u16) -> Result<SocketAddr, TestbedError> {
        if wanted == 0 {
            return self.free();
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, wanted));
        TcpListener::bind(address).map(|_| address).map_err(|source| TestbedError::Port { port: wanted, source })
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
    fn testbeds_of_one_process_begin_far_apart() {
        let begins = [Ports::for_new_testbed().next, Ports::for_new_testbed().next];
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
        let message = Ports::from(1).this_or_free(port).unwrap_err().to_string();
        assert!(message.contains("--port 0") && message.contains(&port.to_string()), "{message}");
    }
}
