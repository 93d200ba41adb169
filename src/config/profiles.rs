//! Scheduling profiles with llm-d's defaults filled in.
//!
//! Must not know what any plugin does.

use super::declared::{Declared, DeclaredPlugins, Made};
use super::error::ErrorCollector;
use super::parts::{self, Part};
use super::raw::{RawProfile, Reference};
use super::suggestion;
use crate::fleet::TopologyLabels;
use crate::plugin::Runs;
use crate::plugin::catalog::Built;
use crate::schedule::named::Named;
use crate::schedule::profile::{SchedulingProfile, Weighted};
use crate::schedule::{Plugins, Profiles};

/// llm-d's names of what is added by default.
const DEFAULT_PROFILE: &str = "default";
const SINGLE_PROFILE_HANDLER: &str = "single-profile-handler";
const MAX_SCORE_PICKER: &str = "max-score-picker";
/// The weight of a scorer without one.
const DEFAULT_WEIGHT: f64 = 1.0;

/// The plugins of each profile, by name.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) handler: String,
    /// The deciders that the handler asks.
    pub(super) deciders: Vec<String>,
    pub(super) profiles: Vec<PlannedProfile>,
}

/// One profile.
#[derive(Debug)]
pub(super) struct PlannedProfile {
    pub(super) name: String,
    /// Plugin names in order; scorers with their weight.
    pub(super) plugins: Vec<(String, Option<f64>)>,
}

/// Checks and completes the profiles; adds missing plugins to `declared`.
pub(super) fn plan(raw: &[RawProfile], declared: &mut DeclaredPlugins<'_>, errors: &mut ErrorCollector) -> Plan {
    let mut profiles = Vec::new();
    for profile in raw {
        if profiles.iter().any(|known: &PlannedProfile| known.name == profile.name) {
            let message = format!("a profile is called `{}` already; names must differ", profile.name);
            errors.add(profile.place, format!("{}.name", profile.path), message);
        }
        profiles.push(planned(profile, declared, errors));
    }
    if raw.is_empty() {
        profiles.push(everything(declared, errors));
    }
    let handler = handler(raw, declared, errors);
    let deciders = deciders(&handler, declared, errors);
    Plan { handler, deciders, profiles }
}

/// Connects the plan's plugins. Call it only if there are no errors; then each reference has the role [`plan`] found.
pub(super) fn build(plan: &Plan, declared: &DeclaredPlugins<'_>) -> Option<Profiles> {
    let mut built = Vec::new();
    for profile in &plan.profiles {
        let (mut filters, mut scorers, mut picker) = (Vec::new(), Vec::new(), None);
        for (name, weight) in &profile.plugins {
            let (roles, kind) = (declared.find(name)?.roles()?, declared.kind(name)?);
            if let Some(filter) = &roles.filter {
                filters.push(Named::new(name, kind, filter.clone()));
            }
            if let Some(scorer) = &roles.scorer {
                let weight = weight.unwrap_or(DEFAULT_WEIGHT);
                scorers.push(Weighted { weight, scorer: Named::new(name, kind, scorer.clone()) });
            }
            if let Some(found) = &roles.picker {
                picker = Some(Named::new(name, kind, found.clone()));
            }
        }
        built.push(SchedulingProfile { name: profile.name.clone(), filters, scorers, picker: picker? });
    }
    let handler = declared.find(&plan.handler)?.roles()?.profile_handler.clone()?;
    let handler = Named::new(&plan.handler, declared.kind(&plan.handler)?, handler);
    let deciders = plan
        .deciders
        .iter()
        .map(|name| Some(Named::new(name, declared.kind(name)?, declared.find(name)?.roles()?.decider.clone()?)));
    Some(Profiles::new(Plugins {
        handler,
        deciders: deciders.collect::<Option<_>>()?,
        profiles: built,
        admissions: declared.all(|roles| &roles.admission),
        request_hooks: declared.all(|roles| &roles.request_hook),
        response_hooks: declared.all(|roles| &roles.response_hook),
        kept: used(plan, declared).flat_map(|built| built.keeps.clone()).collect(),
        headers: used(plan, declared).flat_map(|built| built.headers.clone()).collect(),
        topology: topology(declared),
    }))
}

/// The labels that the first `topology-extractor` names, else the defaults.
fn topology(declared: &DeclaredPlugins<'_>) -> TopologyLabels {
    let labels = declared.of_kind(parts::TOPOLOGY_EXTRACTOR).find_map(|plugin| match &plugin.made {
        Made::Part(Part::Topology(labels)) => Some(labels.clone()),
        _ => None,
    });
    labels.unwrap_or_default()
}

/// The plan's plugins.
fn used<'d>(plan: &'d Plan, declared: &'d DeclaredPlugins<'_>) -> impl Iterator<Item = &'d Built> {
    let used = declared.plugins.iter().filter(|plugin| plan.uses(plugin));
    used.filter_map(|plugin| match &plugin.made {
        Made::Plugin(built) => Some(built),
        Made::Part(_) | Made::Broken => None,
    })
}

fn planned(profile: &RawProfile, declared: &mut DeclaredPlugins<'_>, errors: &mut ErrorCollector) -> PlannedProfile {
    let mut plugins = Vec::new();
    let mut picker: Option<&Reference> = None;
    for (reference, weight) in &profile.plugins {
        // llm-d adds its default picker before it resolves references, so the name needs no declaration.
        if reference.name == MAX_SCORE_PICKER && !declared.plugins.iter().any(is_picker) {
            declared.ensure(MAX_SCORE_PICKER);
        }
        let Some(plugin) = declared.resolve(reference, errors) else { continue };
        if is_picker(plugin) {
            if let Some(first) = picker {
                let message = format!("the profile has the picker `{}` already; it takes one", first.name);
                errors.add(reference.place, &reference.path, message);
            }
            picker = Some(reference);
        } else if !is_filter_or_scorer(plugin) && !plugin.is_broken() {
            let message = format!("`{}` is {}; profiles take filters, scorers and pickers", plugin.name, plugin.noun());
            errors.add(reference.place, &reference.path, message);
            continue;
        }
        let weight = plugin.is(|roles| &roles.scorer).then(|| weight.unwrap_or(DEFAULT_WEIGHT));
        plugins.push((reference.name.clone(), weight));
    }
    if picker.is_none() {
        plugins.push((default_picker(declared), None));
    }
    PlannedProfile { name: profile.name.clone(), plugins }
}

/// Every declared filter, scorer and picker, in the file's order (llm-d uses the order of a Go map).
fn everything(declared: &mut DeclaredPlugins<'_>, errors: &mut ErrorCollector) -> PlannedProfile {
    let mut plugins = Vec::new();
    let mut picker = None;
    for plugin in &declared.plugins {
        if is_picker(plugin) {
            if picker.is_some() {
                let message =
                    "without `schedulingProfiles` there can be one picker; write the profile out to have more";
                errors.add(plugin.place, &plugin.path, message);
                continue;
            }
            picker = Some(());
        } else if !is_filter_or_scorer(plugin) {
            continue;
        }
        plugins.push((plugin.name.clone(), plugin.is(|roles| &roles.scorer).then_some(DEFAULT_WEIGHT)));
    }
    if picker.is_none() {
        plugins.push((default_picker(declared), None));
    }
    PlannedProfile { name: DEFAULT_PROFILE.to_owned(), plugins }
}

/// A declared `max-score-picker`, else the first declared picker, else a new `max-score-picker`.
fn default_picker(declared: &mut DeclaredPlugins<'_>) -> String {
    let best = declared.of_kind(MAX_SCORE_PICKER).find(|plugin| is_picker(plugin));
    match best.or_else(|| declared.plugins.iter().find(|plugin| is_picker(plugin))) {
        Some(picker) => picker.name.clone(),
        None => declared.ensure(MAX_SCORE_PICKER),
    }
}

fn is_picker(plugin: &Declared) -> bool {
    plugin.is(|roles| &roles.picker)
}

fn is_filter_or_scorer(plugin: &Declared) -> bool {
    plugin.is(|roles| &roles.filter) || plugin.is(|roles| &roles.scorer)
}

fn handler(raw: &[RawProfile], declared: &mut DeclaredPlugins<'_>, errors: &mut ErrorCollector) -> String {
    let mut handlers = declared.plugins.iter().filter(|plugin| plugin.is(|roles| &roles.profile_handler));
    let first = handlers.next();
    if let (Some(first), Some(second)) = (first, handlers.next()) {
        let message = format!("`{}` is a profile handler already; there can be one", first.name);
        errors.add(second.place, &second.path, message);
    }
    // A broken plugin may be the missing handler.
    if let (None, Some(profile), false) = (first, raw.get(1), declared.any_broken()) {
        errors.add(profile.place, &profile.path, "several profiles need a profile handler under `plugins`");
    }
    let Some(first) = first else { return declared.ensure(SINGLE_PROFILE_HANDLER) };
    let filters_only = first.roles().and_then(|roles| roles.profile_handler.as_ref());
    let filters_only = filters_only.map(|handler| handler.filters_only()).unwrap_or_default();
    for profile in raw.iter().filter(|profile| filters_only.contains(&profile.name.as_str())) {
        filters_alone(profile, first, declared, errors);
    }
    let Some(runs) = first.roles().and_then(|roles| roles.profile_handler.as_ref()).map(|handler| handler.runs())
    else {
        return first.name.clone();
    };
    match runs {
        Runs::TheOnly => {
            if let Some(profile) = raw.get(1) {
                let message = format!("`{}` runs one profile, and this is the second", first.name);
                errors.add(profile.place, &profile.path, message);
            }
        }
        Runs::Requested => {}
        Runs::Named { required, optional } => {
            let is_there = |name: &&&str| raw.iter().any(|profile| profile.name == **name);
            let missing = || optional.iter().filter(|name| !is_there(name)).copied();
            for profile in raw.iter().filter(|one| !optional.iter().chain(&required).any(|name| *name == one.name)) {
                // llm-d ignores a profile that nobody runs. One whose name is a slip is not meant to be ignored.
                if let Some(hint) = suggestion::did_you_mean(&profile.name, missing()) {
                    let message = format!("`{}` does not run the profile `{}`; {hint}", first.name, profile.name);
                    errors.add(profile.place, format!("{}.name", profile.path), message);
                }
            }
            for name in required.into_iter().filter(|name| !raw.iter().any(|profile| profile.name == *name)) {
                let known: Vec<&str> = raw.iter().map(|profile| profile.name.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { suggestion::listed(&known) };
                let message = format!("runs the profile `{name}`, and `schedulingProfiles` has {known}");
                errors.add(first.place, &first.path, message);
            }
        }
    }
    first.name.clone()
}

/// Checks that a profile whose endpoints the handler prices itself has no scorers. (A picker is added to every profile.)
fn filters_alone(
    profile: &RawProfile,
    handler: &Declared,
    declared: &DeclaredPlugins<'_>,
    errors: &mut ErrorCollector,
) {
    for (reference, _) in &profile.plugins {
        let found = declared.find(&reference.name);
        if let Some(plugin) =
            found.filter(|plugin| plugin.is(|roles| &roles.scorer) && !plugin.is(|roles| &roles.filter))
        {
            let message = format!(
                "`{}` prices endpoints itself; `{}` is {}: leave it out",
                handler.name,
                plugin.name,
                plugin.noun()
            );
            errors.add(reference.place, &reference.path, message);
        }
    }
}

/// The deciders that the handler asks, each declared and a decider.
fn deciders(handler: &str, declared: &DeclaredPlugins<'_>, errors: &mut ErrorCollector) -> Vec<String> {
    let Some(plugin) = declared.find(handler) else { return Vec::new() };
    let Some(handler) = plugin.roles().and_then(|roles| roles.profile_handler.as_ref()) else { return Vec::new() };
    let names: Vec<String> = handler.deciders().into_iter().map(str::to_owned).collect();
    for name in &names {
        let reference = Reference { name: name.clone(), place: plugin.place, path: plugin.path.clone() };
        let Some(decider) = declared.resolve(&reference, errors) else { continue };
        if !decider.is(|roles| &roles.decider) && !decider.is_broken() {
            let message = format!("`{name}` is {}, and a decider is needed", decider.noun());
            errors.add(plugin.place, &plugin.path, message);
        }
    }
    names
}

// === impl Plan ===

impl Plan {
    /// Whether the plugin runs for requests: it is referenced, or it runs wherever it is declared.
    pub(super) fn uses(&self, plugin: &Declared) -> bool {
        let name = plugin.name.as_str();
        let in_profile = |profile: &PlannedProfile| profile.plugins.iter().any(|(known, _)| known == name);
        self.handler == name
            || self.deciders.iter().any(|decider| decider == name)
            || self.profiles.iter().any(in_profile)
            || plugin.is(|roles| &roles.producer)
            || plugin.is(|roles| &roles.admission)
            || plugin.is(|roles| &roles.request_hook)
            || plugin.is(|roles| &roles.response_hook)
    }
}
