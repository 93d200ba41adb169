//! The document as written: every known section with typed fields, and errors about all others.
//!
//! Must not know plugin types or resolve references.

use super::error::{ErrorCollector, Place};
use super::gates;
use super::suggestion;
use super::tree::Value;
use super::walk::{Field, Fields};

pub(super) const API_VERSION: &str = "llm-d.ai/v1alpha1";
const API_VERSION_LEGACY: &str = "inference.networking.x-k8s.io/v1alpha1";
pub(super) const KIND: &str = "EndpointPickerConfig";

/// The document.
#[derive(Debug, Default)]
pub(super) struct Raw<'n> {
    pub(super) plugins: Vec<RawPlugin<'n>>,
    pub(super) profiles: Vec<RawProfile>,
    pub(super) data_layer: RawDataLayer,
    pub(super) saturation: Option<Reference>,
    pub(super) parsers: Vec<Reference>,
}

/// One item of `plugins`.
#[derive(Debug)]
pub(super) struct RawPlugin<'n> {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) path: String,
    pub(super) name_place: Place,
    pub(super) kind_place: Place,
    pub(super) parameters: Option<Field<'n>>,
}

/// A `pluginRef`.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) path: String,
}

/// One item of `schedulingProfiles`.
#[derive(Debug)]
pub(super) struct RawProfile {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) path: String,
    pub(super) plugins: Vec<(Reference, Option<f64>)>,
}

/// `dataLayer`.
#[derive(Debug)]
pub(super) struct RawDataLayer {
    pub(super) place: Place,
    pub(super) inject_defaults: bool,
    pub(super) sources: Vec<RawSource>,
    pub(super) discovery: Option<Reference>,
}

/// One item of `dataLayer.sources`.
#[derive(Debug)]
pub(super) struct RawSource {
    pub(super) source: Reference,
    pub(super) extractors: Vec<Reference>,
}

/// Reads the whole document.
pub(super) fn read<'n>(document: &Field<'n>, errors: &mut ErrorCollector) -> Option<Raw<'n>> {
    if !matches!(document.node.value, Value::Map(_)) {
        let message =
            format!("a configuration begins with `apiVersion` and `kind`, and this is {}", document.node.kind());
        document.report(errors, message);
        return None;
    }
    let mut fields = document.fields(errors)?;
    head(&mut fields, errors);
    let mut raw = Raw::default();
    if let Some(gates) = fields.take("featureGates") {
        gates::read(&gates, errors);
    }
    if let Some(list) = fields.take("plugins") {
        raw.plugins = list.list(errors).iter().filter_map(|item| plugin(item, errors)).collect();
    }
    if let Some(list) = fields.take("schedulingProfiles") {
        raw.profiles = list.list(errors).iter().filter_map(|item| profile(item, errors)).collect();
    }
    if let Some(field) = fields.take("dataLayer") {
        raw.data_layer = data_layer(&field, errors).unwrap_or_default();
    }
    // If both the old and the new spelling are present, the new one counts, as in llm-d.
    let saturation = fields.take("saturationDetector").and_then(|field| optional_reference(&field, errors));
    let flow = fields.take("flowControl").and_then(|field| flow_control(&field, errors));
    raw.saturation = flow.or(saturation);
    let parser = fields.take("parser").and_then(|field| reference(&field, errors));
    if let Some(mut handler) = fields.take("requestHandler").and_then(|field| field.fields(errors)) {
        raw.parsers = references(handler.take("parsers"), errors);
        handler.finish(errors);
    }
    if raw.parsers.is_empty() {
        raw.parsers.extend(parser);
    }
    fields.finish(errors);
    Some(raw)
}

fn head(fields: &mut Fields<'_>, errors: &mut ErrorCollector) {
    if let Some(field) = fields.require("apiVersion", errors)
        && field.text(errors).is_some_and(|text| text != API_VERSION && text != API_VERSION_LEGACY)
    {
        let known = suggestion::either(&[API_VERSION, API_VERSION_LEGACY]);
        field.report(errors, format!("expected {known}, got {}", field.node.kind()));
    }
    if let Some(field) = fields.require("kind", errors)
        && field.text(errors).is_some_and(|text| text != KIND)
    {
        field.report(errors, format!("expected `{KIND}`, got {}", field.node.kind()));
    }
}

fn plugin<'n>(item: &Field<'n>, errors: &mut ErrorCollector) -> Option<RawPlugin<'n>> {
    let mut fields = item.fields(errors)?;
    let name = fields.take("name");
    let kind = fields.require("type", errors);
    let parameters = fields.take("parameters");
    fields.finish(errors);
    let kind = kind?;
    let text = kind.text(errors)?;
    let name_place = name.as_ref().map_or(kind.place(), Field::place);
    // An empty name counts as none, as in llm-d.
    let name = name.and_then(|name| name.text(errors)).filter(|name| !name.is_empty()).unwrap_or(text);
    Some(RawPlugin {
        name: name.to_owned(),
        kind: text.to_owned(),
        path: item.path.clone(),
        name_place,
        kind_place: kind.place(),
        parameters,
    })
}

fn profile(item: &Field<'_>, errors: &mut ErrorCollector) -> Option<RawProfile> {
    let mut fields = item.fields(errors)?;
    let name = fields.require("name", errors);
    let place = name.as_ref().map_or(item.place(), Field::place);
    let mut plugins = Vec::new();
    for item in fields.take("plugins").map(|list| list.list(errors)).unwrap_or_default() {
        let Some(mut fields) = item.fields(errors) else { continue };
        let reference = plugin_ref(&mut fields, errors);
        let weight = fields.take("weight").map(|weight| weight.number(errors));
        fields.finish(errors);
        plugins.extend(reference.map(|reference| (reference, weight.flatten())));
    }
    fields.finish(errors);
    let name = name?.text(errors)?.to_owned();
    if name.is_empty() {
        errors.add(place, &item.path, "a profile needs a name");
    }
    Some(RawProfile { name, place, path: item.path.clone(), plugins })
}

fn data_layer(field: &Field<'_>, errors: &mut ErrorCollector) -> Option<RawDataLayer> {
    let mut fields = field.fields(errors)?;
    let inject = fields.take("injectDefaults").and_then(|field| field.boolean(errors)).unwrap_or(true);
    let mut sources = Vec::new();
    for item in fields.take("sources").map(|list| list.list(errors)).unwrap_or_default() {
        let Some(mut fields) = item.fields(errors) else { continue };
        let source = plugin_ref(&mut fields, errors);
        let extractors = references(fields.take("extractors"), errors);
        fields.finish(errors);
        sources.extend(source.map(|source| RawSource { source, extractors }));
    }
    let discovery = fields.take("discovery").and_then(|field| reference(&field, errors));
    let later = ["peerDiscovery", "crossReplicaSyncerPluginRef", "crossReplicaSyncInterval"];
    not_supported_yet(&mut fields, &later, errors);
    fields.finish(errors);
    Some(RawDataLayer { place: field.place(), inject_defaults: inject, sources, discovery })
}

/// Reads flow control's detector, which admission uses even without flow control. Other fields are not supported yet.
fn flow_control(field: &Field<'_>, errors: &mut ErrorCollector) -> Option<Reference> {
    let mut fields = field.fields(errors)?;
    let detector = fields.take("saturationDetector").and_then(|field| optional_reference(&field, errors));
    let later = [
        "maxBytes",
        "maxRequests",
        "defaultRequestTTL",
        "noEndpointRequestTTL",
        "defaultPriorityBand",
        "defaultNegativePriorityBand",
        "priorityBands",
        "usageLimitPolicyPluginRef",
        "enableEviction",
    ];
    not_supported_yet(&mut fields, &later, errors);
    fields.finish(errors);
    detector
}

/// Reports fields that are not supported yet; `false`, `0` and "" have no effect and are accepted.
fn not_supported_yet(fields: &mut Fields<'_>, names: &[&'static str], errors: &mut ErrorCollector) {
    for name in names {
        let Some(field) = fields.take(name) else { continue };
        let asks_for_nothing = match field.node.to_json() {
            serde_json::Value::Bool(value) => !value,
            serde_json::Value::Number(value) => value.as_f64() == Some(0.0),
            serde_json::Value::String(text) => text.is_empty() || text == "0",
            _ => false,
        };
        if !asks_for_nothing {
            let message = format!("`{name}` is known to llm-d and not here yet; leave it out");
            errors.not_supported_yet(field.place(), &field.path, message);
        }
    }
}

fn references(list: Option<Field<'_>>, errors: &mut ErrorCollector) -> Vec<Reference> {
    let items = list.map(|list| list.list(errors)).unwrap_or_default();
    items.iter().filter_map(|item| reference(item, errors)).collect()
}

/// A mapping with only a `pluginRef`.
fn reference(field: &Field<'_>, errors: &mut ErrorCollector) -> Option<Reference> {
    let mut fields = field.fields(errors)?;
    let reference = plugin_ref(&mut fields, errors);
    fields.finish(errors);
    reference
}

/// Like `reference`, but the `pluginRef` may be absent or empty.
fn optional_reference(field: &Field<'_>, errors: &mut ErrorCollector) -> Option<Reference> {
    let mut fields = field.fields(errors)?;
    let field = fields.take("pluginRef");
    fields.finish(errors);
    let field = field?;
    let name = field.text(errors).filter(|name| !name.is_empty())?;
    Some(Reference { name: name.to_owned(), place: field.place(), path: field.path })
}

fn plugin_ref(fields: &mut Fields<'_>, errors: &mut ErrorCollector) -> Option<Reference> {
    let field = fields.require("pluginRef", errors)?;
    let name = field.text(errors)?.to_owned();
    if name.is_empty() {
        field.report(errors, "a pluginRef needs the name of a plugin");
        return None;
    }
    Some(Reference { name, place: field.place(), path: field.path })
}

// === impl RawDataLayer ===

impl Default for RawDataLayer {
    fn default() -> Self {
        Self { place: Place { line: 1, column: 1 }, inject_defaults: true, sources: Vec::new(), discovery: None }
    }
}
