//! How the ext-proc service is protected.

use std::path::PathBuf;

/// TLS of the ext-proc service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// None.
    Plain,
    /// A certificate generated at start.
    SelfSigned,
    /// `tls.crt` and `tls.key` in this directory; changes are followed.
    Folder(PathBuf),
}
