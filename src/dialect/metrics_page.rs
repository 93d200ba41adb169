//! Reading an engine's metrics page.
