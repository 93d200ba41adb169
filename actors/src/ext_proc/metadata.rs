//! Reads the proxy's `metadata_context` and writes this replica's `dynamic_metadata`.
//!
//! Must not know which phase a request is in. A subset hint always restricts the choice: entries that are not `ip:port`
//! admit no endpoint, they never widen the choice. Ports count, so two data-parallel ranks of one pod are two.

use std::net::SocketAddr;

use murmuration::id::canonical;
use murmuration_proto::ext_proc::{Kind, Metadata, Struct, Value};
use murmuration_proto::names;

/// The subset hint; `None` where the proxy set none. An empty list, or one without a single address, admits no
/// endpoint.
pub fn subset(metadata: &Metadata) -> Option<Vec<SocketAddr>> {
    match kind(metadata, names::SUBSET_NAMESPACE, names::SUBSET)? {
        Kind::NullValue(_) => None,
        Kind::ListValue(list) => Some(list.values.iter().filter_map(text).filter_map(address).collect()),
        Kind::StringValue(list) => Some(list.split(',').filter_map(address).collect()),
        Kind::NumberValue(_) | Kind::BoolValue(_) | Kind::StructValue(_) => Some(Vec::new()),
    }
}

/// The address that served, as the proxy reports it with the response.
pub fn served(metadata: &Metadata) -> Option<SocketAddr> {
    match kind(metadata, names::LB_NAMESPACE, names::DESTINATION_SERVED)? {
        Kind::StringValue(served) => address(served),
        _ => None,
    }
}

/// The destination and its fallbacks as the protocol writes them: `ip:port[,ip:port...]`, IPv6 in brackets.
pub fn destination(addresses: impl Iterator<Item = SocketAddr>) -> String {
    let mut list = String::with_capacity(48);
    for address in addresses {
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(&address.to_string());
    }
    list
}

/// `envoy.lb { x-gateway-destination-endpoint: <destination> }`.
pub fn load_balancer(destination: &str) -> Struct {
    let value = Value { kind: Some(Kind::StringValue(destination.to_owned())) };
    let inner = Struct { fields: [(names::DESTINATION.to_owned(), value)].into() };
    let inner = Value { kind: Some(Kind::StructValue(inner)) };
    Struct { fields: [(names::LB_NAMESPACE.to_owned(), inner)].into() }
}

fn kind<'a>(metadata: &'a Metadata, namespace: &str, key: &str) -> Option<&'a Kind> {
    metadata.filter_metadata.get(namespace)?.fields.get(key)?.kind.as_ref()
}

fn text(value: &Value) -> Option<&str> {
    match value.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

/// An IPv4-mapped IPv6 address becomes the IPv4 address that discovery knows.
fn address(text: &str) -> Option<SocketAddr> {
    text.trim().parse().ok().map(canonical)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmuration_proto::ext_proc::ListValue;

    use super::*;

    fn metadata(namespace: &str, key: &str, kind: Kind) -> Metadata {
        let fields = [(key.to_owned(), Value { kind: Some(kind) })].into();
        Metadata { filter_metadata: [(namespace.to_owned(), Struct { fields })].into(), ..Default::default() }
    }

    fn hint(kind: Kind) -> Option<Vec<SocketAddr>> {
        subset(&metadata(names::SUBSET_NAMESPACE, names::SUBSET, kind))
    }

    fn list(entries: &[&str]) -> Kind {
        let values = entries.iter().map(|entry| Value { kind: Some(Kind::StringValue((*entry).into())) }).collect();
        Kind::ListValue(ListValue { values })
    }

    #[test]
    fn a_hint_keeps_ports_and_reads_ipv6_in_brackets() {
        let expected: Vec<SocketAddr> = ["10.0.0.1:8001", "[::1]:8000"].map(|a| a.parse().unwrap()).into();
        assert_eq!(hint(list(&["10.0.0.1:8001", " [::1]:8000"])), Some(expected));
        assert_eq!(hint(list(&["[::ffff:10.0.0.1]:80"])), Some(vec!["10.0.0.1:80".parse().unwrap()]));
    }

    #[test]
    fn a_hint_without_endpoints_admits_none() {
        assert_eq!(hint(list(&[])), Some(vec![]));
        assert_eq!(hint(list(&["10.0.0.1", "nonsense", ":80"])), Some(vec![]));
        assert_eq!(hint(Kind::BoolValue(true)), Some(vec![]));
    }

    #[test]
    fn a_hint_in_one_string_is_read_and_null_is_no_hint() {
        assert_eq!(hint(Kind::StringValue("10.0.0.1:1,10.0.0.2:2".into())).unwrap().len(), 2);
        assert_eq!(hint(Kind::NullValue(0)), None);
        assert_eq!(subset(&Metadata::default()), None);
    }

    #[test]
    fn the_served_endpoint_is_read_and_nonsense_is_ignored() {
        let read = |text: &str| {
            served(&metadata(names::LB_NAMESPACE, names::DESTINATION_SERVED, Kind::StringValue(text.into())))
        };
        assert_eq!(read("[fd00::2]:8000"), Some("[fd00::2]:8000".parse().unwrap()));
        assert_eq!(read("somewhere"), None);
    }

    #[test]
    fn a_destination_lists_fallbacks_in_order() {
        let addresses = ["10.0.0.1:8000", "[fd00::2]:8001"].map(|a| a.parse().unwrap());
        assert_eq!(destination(addresses.into_iter()), "10.0.0.1:8000,[fd00::2]:8001");
    }
}
