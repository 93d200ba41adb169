//! Peer streams on loopback.
