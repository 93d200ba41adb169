//! Reads text into a blueprint in three steps: parse the document, resolve its references, build the parts.
//!
//! Must not know individual plugins.

use super::blueprint::{
    Blueprint, EngineSettings, FileDiscovery, InFlightSettings, Parser, PrefixSettings, RendererSettings,
    SaturationSettings, ScrapeSettings,
};
use super::declared::{DeclaredPlugins, Made};
use super::error::{ConfigErrors, ErrorCollector};
use super::parts::{self, Part};
use super::profiles;
use super::raw::{self, Raw};
use super::sections::{self, Sections};
use super::walk::Field;
use super::{effective, tree};
use crate::plugin::Catalog;

/// The default configuration, used when none is given.
pub fn default_text() -> &'static str {
    "apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: prefill-cost-scorer
- type: metrics-data-source
- type: core-metrics-extractor
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: prefill-cost-scorer
    weight: 1
dataLayer:
  sources:
  - pluginRef: metrics-data-source
    extractors:
    - pluginRef: core-metrics-extractor
"
}

/// llm-d's default configuration.
pub fn llm_d_text() -> &'static str {
    include_str!("../../deploy/config/llm-d-default.yaml")
}

/// Reads a configuration. `file` is used only in errors.
///
/// # Errors
/// All errors of the configuration.
pub fn read(text: &str, file: &str, catalog: &Catalog) -> Result<Blueprint, ConfigErrors> {
    let mut errors = ErrorCollector::default();
    let Some(document) = tree::parse(text, &mut errors) else { return Err(errors.into_errors(file)) };
    if matches!(document.value, tree::Value::Null) {
        let message = "the configuration says nothing; without one the default configuration counts";
        Field::document(&document).report(&mut errors, message);
        return Err(errors.into_errors(file));
    }
    let raw = raw::read(&Field::document(&document), &mut errors);
    let built = raw.and_then(|raw| blueprint(&raw, catalog, &mut errors));
    errors.or(file, built)
}

fn blueprint(raw: &Raw<'_>, catalog: &Catalog, errors: &mut ErrorCollector) -> Option<Blueprint> {
    let mut declared = DeclaredPlugins::new(catalog, &raw.plugins, errors);
    let plan = profiles::plan(&raw.profiles, &mut declared, errors);
    let saturation = sections::saturation(raw.saturation.as_ref(), &mut declared, errors);
    let (source, extractor, discovery) = sections::data_layer(&raw.data_layer, &mut declared, errors);
    let parsers = sections::parsers(&raw.parsers, &mut declared, errors);
    let reads_matches = sections::producers(&plan, &mut declared, errors);
    sections::producer_names(&raw.plugins, &declared, errors);
    let inject_defaults = raw.data_layer.inject_defaults;
    let sections = Sections { inject_defaults, source, extractor, discovery, parsers, saturation };
    if !errors.is_empty() {
        return None;
    }
    let settings = Settings { declared: &declared };
    Some(Blueprint {
        profiles: profiles::build(&plan, &declared)?,
        prefix: settings.prefix(reads_matches)?,
        in_flight: settings.in_flight()?,
        saturation: settings.saturation(&sections.saturation)?,
        parsers: sections.parsers.iter().map(|name| settings.parser(name)).collect::<Option<_>>()?,
        renderer: settings.renderer()?,
        producers: declared.all(|roles| &roles.producer),
        scrape: settings.scrape(&sections.source)?,
        engines: settings.engines(&sections.extractor)?,
        discovery: match &sections.discovery {
            Some(name) => Some(settings.discovery(name)?),
            None => None,
        },
        effective: effective::text(&declared, &plan, &sections),
    })
}

/// Reads settings from the declared plugins by name.
struct Settings<'s, 'c> {
    declared: &'s DeclaredPlugins<'c>,
}

// === impl Settings ===

impl Settings<'_, '_> {
    fn part(&self, name: &str) -> Option<Part> {
        match &self.declared.find(name)?.made {
            Made::Part(part) => Some(part.clone()),
            _ => None,
        }
    }

    /// The part of a producer, found by type because it is not referenced by name; its defaults if it is not declared.
    fn producer(&self, kind: &str) -> Option<Part> {
        match self.declared.of_kind(kind).next() {
            Some(plugin) => self.part(&plugin.name),
            None => parts::build(kind, &serde_json::Value::Null)?.ok().map(|(part, _)| part),
        }
    }

    fn prefix(&self, enabled: bool) -> Option<PrefixSettings> {
        let Part::Prefix(settings) = self.producer(parts::APPROX_PREFIX_CACHE_PRODUCER)? else { return None };
        Some(PrefixSettings { enabled, ..settings })
    }

    fn renderer(&self) -> Option<Option<RendererSettings>> {
        let Part::Tokens(renderer) = self.producer(parts::TOKEN_PRODUCER)? else { return None };
        Some(renderer)
    }

    fn in_flight(&self) -> Option<InFlightSettings> {
        let Part::InFlight(settings) = self.producer(parts::INFLIGHT_LOAD_PRODUCER)? else { return None };
        Some(settings)
    }

    fn saturation(&self, name: &str) -> Option<SaturationSettings> {
        let Part::Saturation(settings) = self.part(name)? else { return None };
        Some(settings)
    }

    fn parser(&self, name: &str) -> Option<Parser> {
        let Part::Parser(parser) = self.part(name)? else { return None };
        Some(parser)
    }

    fn scrape(&self, name: &str) -> Option<ScrapeSettings> {
        let Part::Scrape(settings) = self.part(name)? else { return None };
        Some(settings)
    }

    fn engines(&self, name: &str) -> Option<EngineSettings> {
        let Part::Engines(settings) = self.part(name)? else { return None };
        Some(settings)
    }

    fn discovery(&self, name: &str) -> Option<FileDiscovery> {
        let Part::Discovery(settings) = self.part(name)? else { return None };
        Some(settings)
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
