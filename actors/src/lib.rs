//! The body of one Endpoint Picker replica: waits, listens, delivers, and never decides.
