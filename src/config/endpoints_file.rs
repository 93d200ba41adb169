//! The endpoints file of `file-discovery`: llm-d's format, plus `objectives`, which is Murmuration's own.
//!
//! Must not know files or DNS: the text is passed in and host names are not resolved.
//!
//! ```yaml
//! endpoints:
//! - {name: vllm-0, namespace: prod, address: 10.0.0.7, port: "8000", labels: {llm-d.ai/role: decode}}
//! objectives:
//! - {name: batch, priority: -1}
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use super::error::{ConfigErrors, ErrorCollector};
use super::tree;
use super::walk::{Field, Fields};

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointsFile {
    /// Endpoints in the file's order; no two share namespace and name.
    pub endpoints: Vec<EndpointEntry>,
    /// Priorities by the objective's name.
    pub objectives: BTreeMap<String, i32>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointEntry {
    /// Its name, unique in the namespace.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// An IPv4 address, an IPv6 address without brackets, or a host name.
    pub host: String,
    /// The port of the engine, never zero.
    pub port: u16,
    /// Labels for filters.
    pub labels: BTreeMap<String, String>,
}

/// The namespace of entries without one.
const DEFAULT_NAMESPACE: &str = "default";

/// Reads the text of `file`; the name is used only in errors.
///
/// # Errors
/// All errors of the file. None of its content is used then.
pub fn read(text: &str, file: &str) -> Result<EndpointsFile, ConfigErrors> {
    let mut errors = ErrorCollector::default();
    let read = tree::parse(text, &mut errors).and_then(|node| document(&Field::document(&node), &mut errors));
    errors.or(file, read)
}

fn document(field: &Field<'_>, errors: &mut ErrorCollector) -> Option<EndpointsFile> {
    // A file that is being written is empty at first. This must not empty the pool.
    if matches!(field.node.value, tree::Value::Null) {
        field.report(errors, "the file says nothing; `endpoints: []` is a pool without endpoints");
        return None;
    }
    let mut fields = field.fields(errors)?;
    if !fields.has("endpoints") {
        field.report(errors, "`endpoints` is missing; `endpoints: []` is a pool without endpoints");
    }
    let mut file = EndpointsFile::default();
    let mut names = BTreeSet::new();
    for item in fields.take("endpoints").map(|list| list.list(errors)).unwrap_or_default() {
        let Some(entry) = endpoint(&item, errors) else {
            continue;
        };
        if !names.insert((entry.namespace.clone(), entry.name.clone())) {
            let message =
                format!("the endpoint `{}/{}` is there already; names must differ", entry.namespace, entry.name);
            item.report(errors, message);
        }
        file.endpoints.push(entry);
    }
    for item in fields.take("objectives").map(|list| list.list(errors)).unwrap_or_default() {
        let Some((name, priority)) = objective(&item, errors) else {
            continue;
        };
        if file.objectives.insert(name.clone(), priority).is_some() {
            item.report(errors, format!("the objective `{name}` is there already; names must differ"));
        }
    }
    fields.finish(errors);
    Some(file)
}

fn endpoint(item: &Field<'_>, errors: &mut ErrorCollector) -> Option<EndpointEntry> {
    let mut fields = item.fields(errors)?;
    let name = name(&mut fields, errors);
    let namespace = fields.take("namespace").map(|field| field.text(errors).map(str::to_owned));
    let host = fields.require("address", errors).and_then(|field| host(&field, errors));
    let port = fields.require("port", errors).and_then(|field| port(&field, errors));
    let labels = fields.take("labels").map_or(Some(BTreeMap::new()), |field| labels(&field, errors));
    fields.finish(errors);
    Some(EndpointEntry {
        name: name?,
        namespace: namespace.unwrap_or_else(|| Some(DEFAULT_NAMESPACE.to_owned()))?,
        host: host?,
        port: port?,
        labels: labels?,
    })
}

fn objective(item: &Field<'_>, errors: &mut ErrorCollector) -> Option<(String, i32)> {
    let mut fields = item.fields(errors)?;
    let name = name(&mut fields, errors);
    let range = "a whole number of 32 bits";
    let priority = fields.require("priority", errors).and_then(|field| field.whole::<i32>(errors, range));
    fields.finish(errors);
    Some((name?, priority?))
}

fn name(fields: &mut Fields<'_>, errors: &mut ErrorCollector) -> Option<String> {
    let field = fields.require("name", errors)?;
    let name = field.text(errors)?;
    if name.is_empty() {
        field.report(errors, "a name must not be empty");
        return None;
    }
    Some(name.to_owned())
}

fn host(field: &Field<'_>, errors: &mut ErrorCollector) -> Option<String> {
    let text = field.text(errors)?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let right = match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().is_ok(),
        None => text.parse::<IpAddr>().is_ok() || is_host_name(text),
    };
    if right {
        return Some(bare.unwrap_or(text).to_owned());
    }
    let with_port = text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let hint = if with_port { "; the port stands in `port`" } else { "" };
    field.report(errors, format!("{text:?} is no IPv4 or IPv6 address and no host name{hint}"));
    None
}

/// llm-d writes ports as text; numbers are read too.
fn port(field: &Field<'_>, errors: &mut ErrorCollector) -> Option<u16> {
    let port = match &field.node.value {
        tree::Value::Text(text) => text.parse().ok(),
        tree::Value::Number(number) => number.as_u64().and_then(|port| u16::try_from(port).ok()),
        _ => None,
    };
    let port = port.filter(|port| *port > 0);
    if port.is_none() {
        field.report(errors, format!("expected a port from 1 to 65535, got {}", field.node.kind()));
    }
    port
}

fn labels(field: &Field<'_>, errors: &mut ErrorCollector) -> Option<BTreeMap<String, String>> {
    let labels = field.fields(errors)?.rest().into_iter();
    let labels: Vec<_> = labels.map(|(key, value)| Some((key.to_owned(), value.text(errors)?.to_owned()))).collect();
    labels.into_iter().collect()
}

/// Whether `text` is a host name: parts of at most 63 letters, digits, `-` and `_`, separated by dots. The last part
/// must not be a number, so `10.0.0.256` is refused.
fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let part = |part: &str| {
        let letters = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        letters && (1..=63).contains(&part.len()) && !part.starts_with('-') && !part.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(part) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
#[path = "endpoints_file_tests.rs"]
mod tests;
