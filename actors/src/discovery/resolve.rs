//! Resolves host names to addresses.
//!
//! Must not know files. The lowest of several addresses is taken, so that every replica takes the same one.

use std::net::{IpAddr, SocketAddr};

use murmuration::id::canonical;

/// The address of `host:port`; `host` is an IPv4 or IPv6 address (with or without brackets) or a name.
///
/// # Errors
/// One sentence, when the name has no address.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(canonical(SocketAddr::new(address, port)));
    }
    let found =
        tokio::net::lookup_host((bare, port)).await.map_err(|error| format!("can't resolve {bare:?}: {error}"))?;
    found.map(canonical).min().ok_or_else(|| format!("{bare:?} resolves to no address"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_of_both_families_and_names_are_read() {
        assert_eq!(resolve("10.0.0.7", 80).await.unwrap(), "10.0.0.7:80".parse().unwrap());
        assert_eq!(resolve("fd00::7", 80).await.unwrap(), "[fd00::7]:80".parse().unwrap());
        assert_eq!(resolve("[fd00::7]", 80).await.unwrap(), "[fd00::7]:80".parse().unwrap());
        assert_eq!(resolve("::ffff:10.0.0.7", 80).await.unwrap(), "10.0.0.7:80".parse().unwrap());
        assert!(resolve("localhost", 80).await.unwrap().ip().is_loopback());
        assert!(resolve("no.such.host.invalid", 80).await.unwrap_err().contains("no.such.host.invalid"));
    }
}
