//! Scheduling profiles with llm-d's defaults filled in.
//!
//! Must not know what any plugin does.

use super::declared::{DeclaredPlugins, PluginRole};
use super::error::ErrorCollector;
use super::raw::{RawProfile, Reference};
use crate::plugin::catalog::Plugin;
use crate::schedule::Profiles;
use crate::schedule::profile::{Named, SchedulingProfile, Weighted};

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
    Plan { handler, profiles }
}

/// Builds the plan's plugins. Call it only if there are no errors; then each reference has the role [`plan`] found.
pub(super) fn build(plan: &Plan, declared: &DeclaredPlugins<'_>) -> Option<Profiles> {
    let mut built = Vec::new();
    for profile in &plan.profiles {
        let (mut filters, mut scorers, mut picker) = (Vec::new(), Vec::new(), None);
        for (name, weight) in &profile.plugins {
            match declared.instance(name)? {
                Plugin::Filter(filter) => filters.push(Named::new(name, filter)),
                Plugin::Scorer(scorer) => {
                    let weight = weight.unwrap_or(DEFAULT_WEIGHT);
                    scorers.push(Weighted { weight, scorer: Named::new(name, scorer) });
                }
                Plugin::Picker(found) => picker = Some(Named::new(name, found)),
                Plugin::ProfileHandler(_) => return None,
            }
        }
        built.push(SchedulingProfile { name: profile.name.clone(), filters, scorers, picker: picker? });
    }
    let Plugin::ProfileHandler(handler) = declared.instance(&plan.handler)? else { return None };
    Some(Profiles::new(Named::new(&plan.handler, handler), built))
}

fn planned(profile: &RawProfile, declared: &mut DeclaredPlugins<'_>, errors: &mut ErrorCollector) -> PlannedProfile {
    let mut plugins = Vec::new();
    let mut picker: Option<&Reference> = None;
    for (reference, weight) in &profile.plugins {
        // llm-d adds its default picker before it resolves references, so the name needs no declaration.
        if reference.name == MAX_SCORE_PICKER
            && !declared.plugins.iter().any(|plugin| plugin.role == PluginRole::Picker)
        {
            declared.ensure(MAX_SCORE_PICKER);
        }
        let Some(plugin) = declared.resolve(reference, errors) else { continue };
        match plugin.role {
            PluginRole::Filter | PluginRole::Broken => plugins.push((reference.name.clone(), None)),
            PluginRole::Scorer => plugins.push((reference.name.clone(), Some(weight.unwrap_or(DEFAULT_WEIGHT)))),
            PluginRole::Picker => {
                if let Some(first) = picker {
                    let message = format!("the profile has the picker `{}` already; it takes one", first.name);
                    errors.add(reference.place, &reference.path, message);
                }
                picker = Some(reference);
                plugins.push((reference.name.clone(), None));
            }
            PluginRole::ProfileHandler | PluginRole::Part(_) => {
                let message =
                    format!("`{}` is {}; profiles take filters, scorers and pickers", plugin.name, plugin.role.noun());
                errors.add(reference.place, &reference.path, message);
            }
        }
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
        match plugin.role {
            PluginRole::Filter => plugins.push((plugin.name.clone(), None)),
            PluginRole::Scorer => plugins.push((plugin.name.clone(), Some(DEFAULT_WEIGHT))),
            PluginRole::Picker if picker.is_some() => {
                let message =
                    "without `schedulingProfiles` there can be one picker; write the profile out to have more";
                errors.add(plugin.place, &plugin.path, message);
            }
            PluginRole::Picker => {
                picker = Some(());
                plugins.push((plugin.name.clone(), None));
            }
            PluginRole::ProfileHandler | PluginRole::Part(_) | PluginRole::Broken => {}
        }
    }
    if picker.is_none() {
        plugins.push((default_picker(declared), None));
    }
    PlannedProfile { name: DEFAULT_PROFILE.to_owned(), plugins }
}

/// A declared `max-score-picker`, else the first declared picker, else a new `max-score-picker`.
fn default_picker(declared: &mut DeclaredPlugins<'_>) -> String {
    let is_picker = |plugin: &&super::declared::Declared| plugin.role == PluginRole::Picker;
    let best = declared.of_kind(MAX_SCORE_PICKER).find(is_picker);
    match best.or_else(|| declared.plugins.iter().find(is_picker)) {
        Some(picker) => picker.name.clone(),
        None => declared.ensure(MAX_SCORE_PICKER),
    }
}

fn handler(raw: &[RawProfile], declared: &mut DeclaredPlugins<'_>, errors: &mut ErrorCollector) -> String {
    let mut handlers = declared.plugins.iter().filter(|plugin| plugin.role == PluginRole::ProfileHandler);
    let first = handlers.next();
    if let (Some(first), Some(second)) = (first, handlers.next()) {
        let message = format!("`{}` is a profile handler already; there can be one", first.name);
        errors.add(second.place, &second.path, message);
    }
    match (first, raw.get(1)) {
        (Some(first), Some(profile)) if first.kind == SINGLE_PROFILE_HANDLER => {
            let message = format!("`{SINGLE_PROFILE_HANDLER}` runs one profile, and this is the second");
            errors.add(profile.place, &profile.path, message);
        }
        // A broken plugin may be the missing handler.
        (None, Some(profile)) if !declared.any_broken() => {
            errors.add(profile.place, &profile.path, "several profiles need a profile handler under `plugins`");
        }
        _ => {}
    }
    match first {
        Some(first) => first.name.clone(),
        None => declared.ensure(SINGLE_PROFILE_HANDLER),
    }
}
