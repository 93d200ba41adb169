//! A header that a plugin adds to a request or to its answer.
//!
//! Must not know which headers the protocol uses: where names clash, the picker's own win.

use serde::Serialize;

/// Bytes of a name or of a value at most.
pub const HEADER_BYTES_MAX: usize = 4096;

/// A valid header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Header {
    name: String,
    value: String,
}

// === impl Header ===

impl Header {
    /// A header. The name is written in lower case.
    ///
    /// # Errors
    /// One sentence, if HTTP does not allow the name or the value, if one is longer than [`HEADER_BYTES_MAX`], or if
    /// the name is one of a connection's own.
    pub fn new(name: &str, value: impl Into<String>) -> Result<Self, String> {
        let (name, value) = (name.to_ascii_lowercase(), value.into());
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || name.len() > HEADER_BYTES_MAX || !name.bytes().all(is_name) {
            return Err(format!("{name:?} can't be the name of a header"));
        }
        if ["host", "connection", "content-length", "transfer-encoding", "te", "upgrade"].contains(&name.as_str()) {
            return Err(format!("the header {name} belongs to the connection"));
        }
        let is_value = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        if value.len() > HEADER_BYTES_MAX || !value.bytes().all(is_value) {
            return Err(format!("the header {name} can't have this value"));
        }
        Ok(Self { name, value })
    }

    /// Its name, in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value.
    pub fn value(&self) -> &str {
        &self.value
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_http_does_not_allow_is_refused() {
        let header = Header::new("X-Cost", "1.5").unwrap();
        assert_eq!((header.name(), header.value()), ("x-cost", "1.5"));
        for (name, value) in [("", "v"), (":path", "/"), ("a b", "v"), ("x", "a\r\nb"), ("Content-Length", "1")] {
            assert!(Header::new(name, value).is_err(), "{name}: {value}");
        }
        assert!(Header::new("x", "v".repeat(HEADER_BYTES_MAX + 1)).is_err());
    }
}
