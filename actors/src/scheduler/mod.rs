//! The actor that owns one pool's mind: it receives letters, lets the pure scheduler think, and delivers what comes out.
//!
//! Must not know why a decision is what it is, nor where requests come from.

mod reservation;

pub use reservation::{Asking, Reservation};
