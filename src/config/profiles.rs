//! Scheduling profiles with llm-d's defaults filled in.
//!
//! Must not know what any plugin does.

use super::complaint::Complaints;
use super::declared::{Holds, Shelf};
use super::raw::{RawProfile, Reference};
use crate::plugin::catalog::Plugin;
use crate::schedule::Profiles;
use crate::schedule::profile::{Named, SchedulingProfile, Weighted};

/// llm-d's names of what is added.
const DEFAULT_PROFILE: &str = "default";
const SINGLE_PROFILE_HANDLER: &str = "single-profile-handler";
const MAX_SCORE_PICKER: &str = "max-score-picker";
/// The weight of a scorer that is given none.
const DEFAULT_WEIGHT: f64 = 1.0;

/// Which plugins each profile has, by name.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) handler: String,
    pub(super) profiles: Vec<PlannedProfile>,
}

/// One profile.
#[derive(Debug)]
pub(super) struct PlannedProfile {
    pub(super) name: String,
    /// Names in order; scorers with their weight.
    pub(super) plugins: Vec<(String, Option<f64>)>,
}

/// Checks and completes the profiles; what is missing is added to `shelf`.
pub(super) fn plan(raw: &[RawProfile], shelf: &mut Shelf<'_>, complaints: &mut Complaints) -> Plan {
    let mut profiles = Vec::new();
    for profile in raw {
        if profiles.iter().any(|known: &PlannedProfile| known.name == profile.name) {
            let said = format!("a profile is called `{}` already; names must differ", profile.name);
            complaints.add(profile.place, format!("{}.name", profile.path), said);
        }
        profiles.push(planned(profile, shelf, complaints));
    }
    if raw.is_empty() {
        profiles.push(everything(shelf, complaints));
    }
    let handler = handler(raw, shelf, complaints);
    Plan { handler, profiles }
}

/// Makes the plan's plugins. Call it only while nobody complained; then each reference is what it was found to be.
pub(super) fn build(plan: &Plan, shelf: &Shelf<'_>) -> Option<Profiles> {
    let mut built = Vec::new();
    for profile in &plan.profiles {
        let (mut filters, mut scorers, mut picker) = (Vec::new(), Vec::new(), None);
        for (name, weight) in &profile.plugins {
            match shelf.instance(name)? {
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
    let Plugin::ProfileHandler(handler) = shelf.instance(&plan.handler)? else { return None };
    Some(Profiles::new(Named::new(&plan.handler, handler), built))
}

fn planned(profile: &RawProfile, shelf: &mut Shelf<'_>, complaints: &mut Complaints) -> PlannedProfile {
    let mut plugins = Vec::new();
    let mut picker: Option<&Reference> = None;
    for (reference, weight) in &profile.plugins {
        // llm-d adds its default picker before it looks references up, so the name may stand without a declaration.
        if reference.name == MAX_SCORE_PICKER && !shelf.plugins.iter().any(|plugin| plugin.holds == Holds::Picker) {
            shelf.ensure(MAX_SCORE_PICKER);
        }
        let Some(plugin) = shelf.resolve(reference, complaints) else { continue };
        match plugin.holds {
            Holds::Filter | Holds::Broken => plugins.push((reference.name.clone(), None)),
            Holds::Scorer => plugins.push((reference.name.clone(), Some(weight.unwrap_or(DEFAULT_WEIGHT)))),
            Holds::Picker => {
                if let Some(first) = picker {
                    let said = format!("the profile has the picker `{}` already; it takes one", first.name);
                    complaints.add(reference.place, &reference.path, said);
                }
                picker = Some(reference);
                plugins.push((reference.name.clone(), None));
            }
            Holds::ProfileHandler | Holds::Part(_) => {
                let said =
                    format!("`{}` is {}; profiles take filters, scorers and pickers", plugin.name, plugin.holds.noun());
                complaints.add(reference.place, &reference.path, said);
            }
        }
    }
    if picker.is_none() {
        plugins.push((default_picker(shelf), None));
    }
    PlannedProfile { name: profile.name.clone(), plugins }
}

/// Every filter, scorer and picker that is declared, in the file's order (llm-d's is that of a Go map).
fn everything(shelf: &mut Shelf<'_>, complaints: &mut Complaints) -> PlannedProfile {
    let mut plugins = Vec::new();
    let mut picker = None;
    for plugin in &shelf.plugins {
        match plugin.holds {
            Holds::Filter => plugins.push((plugin.name.clone(), None)),
            Holds::Scorer => plugins.push((plugin.name.clone(), Some(DEFAULT_WEIGHT))),
            Holds::Picker if picker.is_some() => {
                let said = "without `schedulingProfiles` there can be one picker; write the profile out to have more";
                complaints.add(plugin.place, &plugin.path, said);
            }
            Holds::Picker => {
                picker = Some(());
                plugins.push((plugin.name.clone(), None));
            }
            Holds::ProfileHandler | Holds::Part(_) | Holds::Broken => {}
        }
    }
    if picker.is_none() {
        plugins.push((default_picker(shelf), None));
    }
    PlannedProfile { name: DEFAULT_PROFILE.to_owned(), plugins }
}

/// A declared `max-score-picker`, else whichever picker is declared first, else a new `max-score-picker`.
fn default_picker(shelf: &mut Shelf<'_>) -> String {
    let is_picker = |plugin: &&super::declared::Declared| plugin.holds == Holds::Picker;
    let best = shelf.of_kind(MAX_SCORE_PICKER).find(is_picker);
    match best.or_else(|| shelf.plugins.iter().find(is_picker)) {
        Some(picker) => picker.name.clone(),
        None => shelf.ensure(MAX_SCORE_PICKER),
    }
}

fn handler(raw: &[RawProfile], shelf: &mut Shelf<'_>, complaints: &mut Complaints) -> String {
    let mut handlers = shelf.plugins.iter().filter(|plugin| plugin.holds == Holds::ProfileHandler);
    let first = handlers.next();
    if let (Some(first), Some(second)) = (first, handlers.next()) {
        let said = format!("`{}` is a profile handler already; there can be one", first.name);
        complaints.add(second.place, &second.path, said);
    }
    match (first, raw.get(1)) {
        (Some(first), Some(profile)) if first.kind == SINGLE_PROFILE_HANDLER => {
            let said = format!("`{SINGLE_PROFILE_HANDLER}` runs one profile, and this is the second");
            complaints.add(profile.place, &profile.path, said);
        }
        // A broken plugin may be the handler that is missed.
        (None, Some(profile)) if !shelf.any_broken() => {
            complaints.add(profile.place, &profile.path, "several profiles need a profile handler under `plugins`");
        }
        _ => {}
    }
    match first {
        Some(first) => first.name.clone(),
        None => shelf.ensure(SINGLE_PROFILE_HANDLER),
    }
}
