//! Circles of files: which files import each other, directly or through others.
//!
//! An import is a `use` of an item, or an item's path in code, and it leads to the file that *defines* the item,
//! through whatever re-exports. So `mod.rs` may list its folder (`mod`, `pub use`) at no cost. What counts is what
//! `mod.rs` itself uses of its children, and what they use of it. Tests don't count: they see everything of their file.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::Modules;

/// A circle: its files, and the imports among them.
pub(crate) struct Circle {
    pub(crate) files: BTreeSet<String>,
    pub(crate) imports: Vec<String>,
}

/// All circles of a crate.
pub(crate) fn circles(modules: &Modules) -> Vec<Circle> {
    let mut imports: BTreeMap<usize, BTreeMap<usize, String>> = BTreeMap::new();
    let files: Vec<&str> = modules.iter().map(|module| module.file.as_str()).collect();
    for module in 0..files.len() {
        imports.insert(module, modules.imports(module).into_iter().collect());
    }
    let reach: Vec<BTreeSet<usize>> = (0..files.len()).map(|from| reachable(from, &imports)).collect();
    let mut circles = Vec::new();
    let mut seen = BTreeSet::new();
    for from in 0..files.len() {
        let circle: BTreeSet<usize> = reach[from].iter().copied().filter(|&to| reach[to].contains(&from)).collect();
        if circle.len() < 2 || !seen.insert(circle.clone()) {
            continue;
        }
        let within = circle.iter().flat_map(|from| {
            let here = imports[from].iter().filter(|(to, _)| circle.contains(to));
            here.map(|(to, path)| format!("{} -> {} ({path})", files[*from], files[*to]))
        });
        circles
            .push(Circle { imports: within.collect(), files: circle.iter().map(|&i| files[i].to_owned()).collect() });
    }
    circles
}

/// The files that `from` reaches by imports, itself included where a circle leads back.
fn reachable(from: usize, imports: &BTreeMap<usize, BTreeMap<usize, String>>) -> BTreeSet<usize> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        next.extend(imports[&file].keys().filter(|to| reached.insert(**to)));
    }
    reached
}
