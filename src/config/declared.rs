//! The plugins that a configuration declares or needs. Each is built once to check its parameters.
//!
//! Must not know profiles or other sections.

use std::sync::Arc;

use serde_json::Value;

use super::error::{ErrorCollector, Place};
use super::messages;
use super::parts::{self, Part};
use super::raw::{RawPlugin, Reference};
use super::suggestion;
use super::tree::Node;
use crate::plugin::catalog::{Built, Catalog};
use crate::plugin::parameters::{Fault, Step};
use crate::plugin::registration::{Produced, Roles};
use crate::plugin::unsupported::{self, NOT_HERE_YET};
use crate::schedule::named::Named;

/// All plugins, in the file's order; those added by default come last.
#[derive(Debug)]
pub(super) struct DeclaredPlugins<'c> {
    catalog: &'c Catalog,
    pub(super) plugins: Vec<Declared>,
}

/// One plugin.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) made: Made,
    /// Its parameters with all defaults.
    pub(super) parameters: Value,
    /// Position and path of its name.
    pub(super) place: Place,
    pub(super) path: String,
}

/// What a declaration gave.
#[derive(Clone, Debug)]
pub(super) enum Made {
    /// The instance of a plugin, which all references share.
    Plugin(Built),
    /// Settings.
    Part(Part),
    /// It has an error that is already reported; references to it are not reported again.
    Broken,
}

/// Maximum number of faults searched in one plugin's parameters. Removing the faulty field reveals the next fault.
const FAULTS_MAX: usize = 32;

// === impl DeclaredPlugins ===

impl<'c> DeclaredPlugins<'c> {
    /// Builds what the file declares.
    pub(super) fn new(catalog: &'c Catalog, raw: &[RawPlugin<'_>], errors: &mut ErrorCollector) -> Self {
        let mut declared = Self { catalog, plugins: Vec::new() };
        for plugin in raw {
            if declared.find(&plugin.name).is_some() {
                let message = format!("the name `{}` is taken; give one of the two another `name`", plugin.name);
                errors.add(plugin.name_place, &plugin.path, message);
            }
            let (made, parameters) = declared.build_declared(plugin, errors);
            declared.plugins.push(Declared {
                name: plugin.name.clone(),
                kind: plugin.kind.clone(),
                made,
                parameters,
                place: plugin.name_place,
                path: plugin.path.clone(),
            });
        }
        declared
    }

    pub(super) fn find(&self, name: &str) -> Option<&Declared> {
        self.plugins.iter().find(|plugin| plugin.name == name)
    }

    pub(super) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Declared> {
        self.plugins.iter().filter(move |plugin| plugin.kind == kind)
    }

    /// All plugins that have `role`, wherever they are referenced.
    pub(super) fn all<R: ?Sized>(&self, role: impl Fn(&Roles) -> &Option<Arc<R>>) -> Vec<Named<R>> {
        let of = |plugin: &Declared| {
            Some(Named::new(&plugin.name, self.kind(&plugin.name)?, role(plugin.roles()?).clone()?))
        };
        self.plugins.iter().filter_map(of).collect()
    }

    /// The type of the plugin called `name`, as the catalog has it.
    pub(super) fn kind(&self, name: &str) -> Option<&'static str> {
        let kind = &self.find(name)?.kind;
        self.catalog.types().find(|known| known == kind)
    }

    pub(super) fn any_broken(&self) -> bool {
        self.plugins.iter().any(Declared::is_broken)
    }

    /// The plugin that `reference` names; reports an error if there is none.
    pub(super) fn resolve(&self, reference: &Reference, errors: &mut ErrorCollector) -> Option<&Declared> {
        let found = self.find(&reference.name);
        if found.is_none() {
            let message = format!("no plugin is called `{}`; {}", reference.name, self.hint(&reference.name));
            errors.add(reference.place, &reference.path, message);
        }
        found
    }

    /// How to fix a reference to an undeclared name: suggests a declared name, or a type to declare first.
    fn hint(&self, name: &str) -> String {
        let types = || self.types().chain(unsupported::types());
        let declared = suggestion::did_you_mean(name, self.plugins.iter().map(|plugin| plugin.name.as_str()));
        if types().any(|kind| kind == name) {
            return format!("declare it with `- type: {name}` under `plugins`");
        }
        let similar = declared.or_else(|| suggestion::did_you_mean(name, types()));
        similar.unwrap_or_else(|| "declare it under `plugins`".to_owned())
    }

    /// The types that Murmuration supports.
    pub(super) fn types(&self) -> impl Iterator<Item = &'static str> {
        self.catalog.types().chain(parts::TYPES)
    }

    /// The name of the first plugin of the type `kind`. Adds one with default parameters if there is none.
    pub(super) fn ensure(&mut self, kind: &str) -> String {
        if let Some(plugin) = self.of_kind(kind).next() {
            return plugin.name.clone();
        }
        let mut name = kind.to_owned();
        while self.find(&name).is_some() {
            name.push_str("-default");
        }
        if let Some(Ok((made, parameters))) = self.build(kind, &Value::Null) {
            let (kind, place) = (kind.to_owned(), Place { line: 1, column: 1 });
            let path = String::new();
            self.plugins.push(Declared { name: name.clone(), kind, made, parameters, place, path });
        }
        name
    }

    fn build_declared(&self, plugin: &RawPlugin<'_>, errors: &mut ErrorCollector) -> (Made, Value) {
        let broken = (Made::Broken, Value::Null);
        let Some(mut given) = self.known(plugin, errors) else { return broken };
        for nth in 0..FAULTS_MAX {
            match self.build(&plugin.kind, &given) {
                Some(Ok(built)) if nth == 0 => return built,
                Some(Err(fault)) => {
                    let fault = fault.at_its_field(&given);
                    // Once a field was removed, a fault of the whole may be caused by the removal.
                    if nth > 0 && fault.steps.is_empty() {
                        break;
                    }
                    report(&fault, plugin, errors);
                    let Some(Step::Key(key)) = fault.steps.first() else { break };
                    given.as_object_mut().and_then(|fields| fields.remove(key));
                }
                _ => break,
            }
        }
        broken
    }

    /// The given parameters, where the type is known and they can be read as JSON.
    fn known(&self, plugin: &RawPlugin<'_>, errors: &mut ErrorCollector) -> Option<Value> {
        let here = || self.types();
        if !here().any(|kind| kind == plugin.kind) {
            let path = format!("{}.type", plugin.path);
            match unsupported::sentence(&plugin.kind) {
                Some(message) => errors.not_supported_yet(plugin.kind_place, path, message),
                None => {
                    let similar = suggestion::did_you_mean(&plugin.kind, here().chain(unsupported::types()));
                    let hint = similar
                        .unwrap_or_else(|| format!("there are {}", suggestion::listed(&alike(&plugin.kind, here()))));
                    let message = format!("no plugin type is called `{}`; {hint}", plugin.kind);
                    errors.add(plugin.kind_place, path, message);
                }
            }
            return None;
        }
        let Some(parameters) = &plugin.parameters else { return Some(Value::Null) };
        let mut odd = Vec::new();
        parameters.node.not_finite(&parameters.path, &mut odd);
        for (place, path) in &odd {
            errors.add(*place, path, "expected a finite number");
        }
        odd.is_empty().then(|| parameters.node.to_json())
    }

    /// A plugin of the type `kind` and its parameters with all defaults; `None` if there is no such type.
    pub(super) fn build(&self, kind: &str, given: &Value) -> Option<Result<(Made, Value), Fault>> {
        if let Some(part) = parts::build(kind, given) {
            return Some(part.map(|(part, parameters)| (Made::Part(part), parameters)));
        }
        let built = self.catalog.build(kind, given)?;
        Some(built.map(|built| {
            let parameters = built.parameters.clone();
            (Made::Plugin(built), parameters)
        }))
    }
}

/// The `known` types with the same last word as `kind` (`...-scorer`); all `known` types if there are none.
fn alike<'a>(kind: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let word = kind.rsplit('-').next();
    let (same, others): (Vec<&str>, Vec<&str>) = known.partition(|known| known.rsplit('-').next() == word);
    if same.is_empty() { others } else { same }
}

/// Reports a fault at the position of its field.
fn report(fault: &Fault, plugin: &RawPlugin<'_>, errors: &mut ErrorCollector) {
    let root: Option<&Node> = plugin.parameters.as_ref().map(|field| field.node);
    let place = root.map_or(plugin.kind_place, |node| node.place_of(&fault.steps, fault.unknown.is_some()));
    let mut path = format!("{}.parameters", plugin.path);
    for step in &fault.steps {
        match step {
            Step::Key(key) => path.extend([".", key]),
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    let moved = fault.unknown.as_ref().and_then(|(field, _)| unsupported::moved(&plugin.kind, field));
    let sentence = match &fault.unknown {
        None => {
            let got = root.map_or_else(|| "nothing".to_owned(), |node| node.at(&fault.steps).kind());
            messages::of_misfit(&fault.sentence, &got)
        }
        Some((field, known)) if known.is_empty() => {
            format!("no parameter is called `{field}`; `{}` takes none", plugin.kind)
        }
        Some((field, known)) => {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let similar = suggestion::did_you_mean(field, known.iter().copied());
            let hint = similar.unwrap_or_else(|| format!("known are {}", suggestion::listed(&known)));
            format!("no parameter is called `{field}`; {hint}")
        }
    };
    let sentence = moved.map_or(sentence, str::to_owned);
    if sentence.contains(NOT_HERE_YET) {
        errors.not_supported_yet(place, path, sentence);
    } else {
        errors.add(place, path, sentence);
    }
}

// === impl Declared ===

impl Declared {
    /// The roles that it takes in decisions; `None` for settings and broken plugins.
    pub(super) fn roles(&self) -> Option<&Roles> {
        match &self.made {
            Made::Plugin(built) => Some(&built.roles),
            Made::Part(_) | Made::Broken => None,
        }
    }

    /// Whether `role` is one of its roles.
    pub(super) fn is<R>(&self, role: impl Fn(&Roles) -> &Option<R>) -> bool {
        self.roles().is_some_and(|roles| role(roles).is_some())
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self.made, Made::Broken)
    }

    /// What it reads beside the engines' reports.
    pub(super) fn reads(&self) -> &'static [Produced] {
        self.made.reads()
    }

    /// The role's name in error messages.
    pub(super) fn noun(&self) -> String {
        self.made.noun()
    }
}

// === impl Made ===

impl Made {
    /// What it reads beside the engines' reports.
    pub(super) fn reads(&self) -> &'static [Produced] {
        match self {
            Self::Plugin(built) => built.reads,
            Self::Part(_) | Self::Broken => &[],
        }
    }

    /// The role's name in error messages.
    pub(super) fn noun(&self) -> String {
        let noun = match self {
            Self::Plugin(built) => return built.roles.nouns(),
            Self::Part(Part::Prefix(_) | Part::InFlight(_) | Part::Tokens(_)) => "a data producer",
            Self::Part(Part::Scrape(_)) => "a data source",
            Self::Part(Part::Engines(_)) => "an extractor",
            Self::Part(Part::Discovery(_)) => "a discovery",
            Self::Part(Part::Parser(_)) => "a parser",
            Self::Part(Part::Saturation(_)) => "a saturation detector",
            Self::Part(Part::Topology(_)) => "an extractor of places",
            Self::Part(Part::StageHeaders) => "a header writer",
            Self::Broken => "broken",
        };
        noun.to_owned()
    }
}
