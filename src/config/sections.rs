//! The sections beside scheduling: data layer, parsers, detector, producers; each with llm-d's defaults.
//!
//! Must not know profiles.

use super::complaint::Complaints;
use super::declared::{Declared, Holds, Shelf};
use super::near;
use super::parts::{self, Part};
use super::raw::{RawDataLayer, RawPlugin, Reference};
use crate::plugin::contract::Produced;
use crate::plugin::elsewhere;

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

/// Parsers that are used where none is named. llm-d's own list has others between these two, which are not here yet.
const DEFAULT_PARSERS: [&str; 2] = [parts::OPENAI_PARSER, parts::PASSTHROUGH_PARSER];

/// Resolves a reference to a part that `fits`; `what` says what was looked for.
fn part(
    reference: &Reference,
    shelf: &Shelf<'_>,
    what: &str,
    fits: fn(&Part) -> bool,
    complaints: &mut Complaints,
) -> Option<String> {
    let plugin = shelf.resolve(reference, complaints)?;
    match &plugin.holds {
        Holds::Part(part) if fits(part) => Some(plugin.name.clone()),
        Holds::Broken => None,
        other => {
            let said = format!("`{}` is {}, and {what} is needed here", plugin.name, other.noun());
            complaints.add(reference.place, &reference.path, said);
            None
        }
    }
}

/// `dataLayer`: source, extractor and discovery.
pub(super) fn data_layer(
    raw: &RawDataLayer,
    shelf: &mut Shelf<'_>,
    complaints: &mut Complaints,
) -> (String, String, Option<String>) {
    let (mut source, mut extractor) = (None, None);
    for raw in &raw.sources {
        let is_source = |part: &Part| matches!(part, Part::Scrape(_));
        let found = part(&raw.source, shelf, "a data source", is_source, complaints);
        if found.is_some() && source.is_some() {
            let said = "a second metrics source is known to llm-d and not here yet; leave it out";
            complaints.not_here_yet(raw.source.place, &raw.source.path, said);
        }
        let is_extractor = |part: &Part| matches!(part, Part::Engines(_));
        for reference in &raw.extractors {
            extractor = part(reference, shelf, "an extractor", is_extractor, complaints).or(extractor);
        }
        if found.is_some() && raw.extractors.is_empty() {
            let said = format!("`{}` has no `extractors`; name a `core-metrics-extractor`", raw.source.name);
            complaints.add(raw.source.place, &raw.source.path, said);
        }
        source = source.or(found);
    }
    if source.is_none() && !raw.inject_defaults {
        let said = "running without a metrics source is known to llm-d and not here yet; name one under `sources`";
        complaints.not_here_yet(raw.place, "dataLayer.injectDefaults", said);
    }
    let is_discovery = |part: &Part| matches!(part, Part::Discovery(_));
    let discovery = raw.discovery.as_ref();
    let discovery = discovery.and_then(|found| part(found, shelf, "a discovery", is_discovery, complaints));
    let source = source.unwrap_or_else(|| shelf.ensure(parts::METRICS_DATA_SOURCE));
    let extractor = extractor.unwrap_or_else(|| shelf.ensure(parts::CORE_METRICS_EXTRACTOR));
    (source, extractor, discovery)
}

/// `requestHandler.parsers`.
pub(super) fn parsers(raw: &[Reference], shelf: &mut Shelf<'_>, complaints: &mut Complaints) -> Vec<String> {
    if raw.is_empty() {
        return DEFAULT_PARSERS.iter().map(|kind| shelf.ensure(kind)).collect();
    }
    let mut names: Vec<String> = Vec::new();
    for reference in raw {
        undeclared(reference, &DEFAULT_PARSERS, shelf);
        if shelf.find(&reference.name).is_none()
            && let Some(said) = elsewhere::sentence(&reference.name)
        {
            complaints.not_here_yet(reference.place, &reference.path, said);
            continue;
        }
        let is_parser = |part: &Part| matches!(part, Part::Parser(_));
        let Some(name) = part(reference, shelf, "a parser", is_parser, complaints) else { continue };
        if names.contains(&name) {
            complaints.add(reference.place, &reference.path, format!("the parser `{name}` is there already"));
        }
        names.push(name);
    }
    names
}

/// `flowControl.saturationDetector`, by default the plugin that is called like its type.
pub(super) fn saturation(raw: Option<&Reference>, shelf: &mut Shelf<'_>, complaints: &mut Complaints) -> String {
    let Some(reference) = raw else { return shelf.ensure(parts::UTILIZATION_DETECTOR) };
    undeclared(reference, &[parts::UTILIZATION_DETECTOR], shelf);
    let is_detector = |part: &Part| matches!(part, Part::Saturation(_));
    part(reference, shelf, "a saturation detector", is_detector, complaints).unwrap_or_default()
}

/// Adds what llm-d adds by itself before it looks a reference up.
fn undeclared(reference: &Reference, kinds: &[&str], shelf: &mut Shelf<'_>) {
    if kinds.contains(&reference.name.as_str()) && shelf.find(&reference.name).is_none() {
        shelf.ensure(&reference.name);
    }
}

/// Adds the producers of what `used` plugins read; says whether anybody reads matches.
pub(super) fn producers(used: &[String], shelf: &mut Shelf<'_>, complaints: &mut Complaints) -> bool {
    let reads = |what| used.iter().filter_map(|name| shelf.find(name)).any(|plugin| plugin.reads.contains(&what));
    let (matches, load) = (reads(Produced::PrefixMatch), reads(Produced::InFlightLoad));
    let declared = shelf.of_kind(parts::APPROX_PREFIX_CACHE_PRODUCER).next().is_some();
    if matches {
        shelf.ensure(parts::TOKEN_PRODUCER);
        shelf.ensure(parts::APPROX_PREFIX_CACHE_PRODUCER);
    }
    if load {
        shelf.ensure(parts::INFLIGHT_LOAD_PRODUCER);
    }
    for kind in [parts::APPROX_PREFIX_CACHE_PRODUCER, parts::INFLIGHT_LOAD_PRODUCER, parts::TOKEN_PRODUCER] {
        if let Some(second) = shelf.of_kind(kind).nth(1) {
            let said = format!("a second `{kind}` is known to llm-d and not here yet; leave it out");
            complaints.not_here_yet(second.place, &second.path, said);
        }
    }
    matches || declared
}

/// Checks that parameters called `...ProducerName` name producers that are there.
pub(super) fn producer_names(raw: &[RawPlugin<'_>], shelf: &Shelf<'_>, complaints: &mut Complaints) {
    for parameters in raw.iter().filter_map(|plugin| plugin.parameters.as_ref()) {
        let mut aside = Complaints::default();
        let Some(fields) = parameters.fields(&mut aside) else { continue };
        for (key, field) in fields.rest() {
            let kind = match key {
                "prefixMatchInfoProducerName" => parts::APPROX_PREFIX_CACHE_PRODUCER,
                "inFlightLoadProducerName" => parts::INFLIGHT_LOAD_PRODUCER,
                _ => continue,
            };
            let Some(name) = field.text(&mut aside) else { continue };
            match shelf.find(name) {
                Some(Declared { holds: Holds::Broken, .. }) => {}
                Some(plugin) if plugin.kind == kind => {}
                Some(plugin) => {
                    field.complain(
                        complaints,
                        format!("`{name}` is {}, and a `{kind}` is needed here", plugin.holds.noun()),
                    );
                }
                None if name == kind || name.is_empty() => {}
                None => match elsewhere::sentence(name) {
                    Some(said) => complaints.not_here_yet(field.place(), &field.path, said),
                    None => {
                        let producers = shelf.of_kind(kind).map(|plugin| plugin.name.as_str());
                        let near = near::did_you_mean(name, producers.chain([kind]));
                        let cure = near.unwrap_or_else(|| format!("leave it out to use the `{kind}`"));
                        field.complain(complaints, format!("no producer is called `{name}`; {cure}"));
                    }
                },
            }
        }
    }
}
