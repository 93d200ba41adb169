//! The sections other than scheduling: data layer, parsers, detector, producers; each with llm-d's defaults.
//!
//! Must not know what a profile does.

use super::declared::{DeclaredPlugins, Made};
use super::error::ErrorCollector;
use super::parts::{self, Part};
use super::profiles::Plan;
use super::raw::{RawDataLayer, RawPlugin, Reference};
use super::suggestion;
use crate::plugin::registration::Produced;
use crate::plugin::unsupported;

/// Names of the plugins that fill the sections.
#[derive(Debug)]
pub(super) struct Sections {
    pub(super) inject_defaults: bool,
    pub(super) source: String,
    pub(super) extractor: String,
    pub(super) discovery: Option<String>,
    pub(super) parsers: Vec<String>,
    pub(super) saturation: String,
}

/// Parsers that are used if none is named. llm-d's list has others between these two, which are not supported yet.
const DEFAULT_PARSERS: [&str; 2] = [parts::OPENAI_PARSER, parts::PASSTHROUGH_PARSER];

/// Resolves a reference to a part that `fits`; `what` names the expected kind in the error.
fn part(
    reference: &Reference,
    declared: &DeclaredPlugins<'_>,
    what: &str,
    fits: fn(&Part) -> bool,
    errors: &mut ErrorCollector,
) -> Option<String> {
    let plugin = declared.resolve(reference, errors)?;
    match &plugin.made {
        Made::Part(part) if fits(part) => Some(plugin.name.clone()),
        Made::Broken => None,
        Made::Plugin(_) | Made::Part(_) => {
            let message = format!("`{}` is {}, and {what} is needed here", plugin.name, plugin.noun());
            errors.add(reference.place, &reference.path, message);
            None
        }
    }
}

/// `dataLayer`: source, extractor and discovery.
pub(super) fn data_layer(
    raw: &RawDataLayer,
    declared: &mut DeclaredPlugins<'_>,
    errors: &mut ErrorCollector,
) -> (String, String, Option<String>) {
    let (mut source, mut extractor) = (None, None);
    for raw in &raw.sources {
        let is_source = |part: &Part| matches!(part, Part::Scrape(_));
        let found = part(&raw.source, declared, "a data source", is_source, errors);
        if found.is_some() && source.is_some() {
            let message = "a second metrics source is known to llm-d and not here yet; leave it out";
            errors.not_supported_yet(raw.source.place, &raw.source.path, message);
        }
        let is_extractor = |part: &Part| matches!(part, Part::Engines(_));
        for reference in &raw.extractors {
            extractor = part(reference, declared, "an extractor", is_extractor, errors).or(extractor);
        }
        if found.is_some() && raw.extractors.is_empty() {
            let message = format!("`{}` has no `extractors`; name a `core-metrics-extractor`", raw.source.name);
            errors.add(raw.source.place, &raw.source.path, message);
        }
        source = source.or(found);
    }
    if source.is_none() && !raw.inject_defaults {
        let message = "running without a metrics source is known to llm-d and not here yet; name one under `sources`";
        errors.not_supported_yet(raw.place, "dataLayer.injectDefaults", message);
    }
    let is_discovery = |part: &Part| matches!(part, Part::Discovery(_));
    let discovery = raw.discovery.as_ref();
    let discovery = discovery.and_then(|found| part(found, declared, "a discovery", is_discovery, errors));
    let source = source.unwrap_or_else(|| declared.ensure(parts::METRICS_DATA_SOURCE));
    let extractor = extractor.unwrap_or_else(|| declared.ensure(parts::CORE_METRICS_EXTRACTOR));
    (source, extractor, discovery)
}

/// `requestHandler.parsers`.
pub(super) fn parsers(
    raw: &[Reference],
    declared: &mut DeclaredPlugins<'_>,
    errors: &mut ErrorCollector,
) -> Vec<String> {
    if raw.is_empty() {
        return DEFAULT_PARSERS.iter().map(|kind| declared.ensure(kind)).collect();
    }
    let mut names: Vec<String> = Vec::new();
    for reference in raw {
        undeclared(reference, &DEFAULT_PARSERS, declared);
        if declared.find(&reference.name).is_none()
            && let Some(message) = unsupported::sentence(&reference.name)
        {
            errors.not_supported_yet(reference.place, &reference.path, message);
            continue;
        }
        let is_parser = |part: &Part| matches!(part, Part::Parser(_));
        let Some(name) = part(reference, declared, "a parser", is_parser, errors) else { continue };
        if names.contains(&name) {
            errors.add(reference.place, &reference.path, format!("the parser `{name}` is there already"));
        }
        names.push(name);
    }
    names
}

/// `flowControl.saturationDetector`; by default the plugin named like its type.
pub(super) fn saturation(
    raw: Option<&Reference>,
    declared: &mut DeclaredPlugins<'_>,
    errors: &mut ErrorCollector,
) -> String {
    let Some(reference) = raw else { return declared.ensure(parts::UTILIZATION_DETECTOR) };
    undeclared(reference, &[parts::UTILIZATION_DETECTOR], declared);
    let is_detector = |part: &Part| matches!(part, Part::Saturation(_));
    part(reference, declared, "a saturation detector", is_detector, errors).unwrap_or_default()
}

/// Adds the plugin that llm-d adds by default before it resolves the reference.
fn undeclared(reference: &Reference, kinds: &[&str], declared: &mut DeclaredPlugins<'_>) {
    if kinds.contains(&reference.name.as_str()) && declared.find(&reference.name).is_none() {
        declared.ensure(&reference.name);
    }
}

/// Adds the producers of what the plan's plugins read. Returns whether chains are needed: a plugin reads matches, or
/// the producer is declared.
pub(super) fn producers(plan: &Plan, declared: &mut DeclaredPlugins<'_>, errors: &mut ErrorCollector) -> bool {
    let used = || declared.plugins.iter().filter(|plugin| plan.uses(plugin));
    let reads = |what| used().any(|plugin| plugin.reads().contains(&what));
    let (matches, load) = (reads(Produced::PrefixMatch), reads(Produced::InFlightLoad));
    let has_producer = declared.of_kind(parts::APPROX_PREFIX_CACHE_PRODUCER).next().is_some();
    if matches {
        declared.ensure(parts::TOKEN_PRODUCER);
        declared.ensure(parts::APPROX_PREFIX_CACHE_PRODUCER);
    }
    if load {
        declared.ensure(parts::INFLIGHT_LOAD_PRODUCER);
    }
    for kind in [
        parts::APPROX_PREFIX_CACHE_PRODUCER,
        parts::INFLIGHT_LOAD_PRODUCER,
        parts::TOKEN_PRODUCER,
        parts::TOPOLOGY_EXTRACTOR,
    ] {
        if let Some(second) = declared.of_kind(kind).nth(1) {
            let message = format!("a second `{kind}` is known to llm-d and not here yet; leave it out");
            errors.not_supported_yet(second.place, &second.path, message);
        }
    }
    matches || has_producer
}

/// Checks that parameters called `...ProducerName` name declared producers.
pub(super) fn producer_names(raw: &[RawPlugin<'_>], declared: &DeclaredPlugins<'_>, errors: &mut ErrorCollector) {
    for parameters in raw.iter().filter_map(|plugin| plugin.parameters.as_ref()) {
        let mut aside = ErrorCollector::default();
        let Some(fields) = parameters.fields(&mut aside) else { continue };
        for (key, field) in fields.rest() {
            let kind = match key {
                "prefixMatchInfoProducerName" => parts::APPROX_PREFIX_CACHE_PRODUCER,
                "inFlightLoadProducerName" => parts::INFLIGHT_LOAD_PRODUCER,
                "topologyProducerName" => parts::TOPOLOGY_EXTRACTOR,
                _ => continue,
            };
            let Some(name) = field.text(&mut aside) else { continue };
            match declared.find(name) {
                Some(plugin) if plugin.is_broken() => {}
                Some(plugin) if plugin.kind == kind => {}
                Some(plugin) => {
                    field.report(errors, format!("`{name}` is {}, and a `{kind}` is needed here", plugin.noun()));
                }
                None if name == kind || name.is_empty() => {}
                None => match unsupported::sentence(name) {
                    Some(message) => errors.not_supported_yet(field.place(), &field.path, message),
                    None => {
                        let producers = declared.of_kind(kind).map(|plugin| plugin.name.as_str());
                        let similar = suggestion::did_you_mean(name, producers.chain([kind]));
                        let hint = similar.unwrap_or_else(|| format!("leave it out to use the `{kind}`"));
                        field.report(errors, format!("no producer is called `{name}`; {hint}"));
                    }
                },
            }
        }
    }
}
