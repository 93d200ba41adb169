//! A crate's modules as `syn` reads them: which there are, what each imports, and which file a path leads to.
//!
//! Must not know rows or circles.

use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{Attribute, Item, UseTree, Visibility};

use crate::source_files::is_test;

/// The modules of one crate.
pub(crate) struct Modules(Vec<Module>);

/// One file.
pub(crate) struct Module {
    /// Its path from the repository's root.
    pub(crate) file: String,
    /// Its place in the crate; empty for the root.
    pub(crate) path: Vec<String>,
    /// Names that it brings in.
    uses: Vec<Use>,
    /// Other paths of its code, of two segments and more.
    pub(crate) paths: Vec<Vec<String>>,
}

/// One name that a `use` brings in.
struct Use {
    name: String,
    path: Vec<String>,
    public: bool,
    glob: bool,
}

/// What a path leads to: a module by its index, or an item of a module.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    Module(usize),
    Item(usize),
}

/// Re-exports that are followed one after the other, at most.
const REEXPORTS_MAX: usize = 8;

// === impl Modules ===

impl Modules {
    /// The modules from `root` on, such as `src/lib.rs`; those of tests too where `tests` is set.
    pub(crate) fn read(root: &str, tests: bool) -> Self {
        let mut modules = Self(Vec::new());
        modules.add(&crate::root().join(root), Vec::new(), tests);
        modules
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Module> {
        self.0.iter()
    }

    fn add(&mut self, file: &Path, path: Vec<String>, tests: bool) {
        let text = fs::read_to_string(file).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        let mut found = Names { module: path.clone(), tests, uses: Vec::new(), paths: Vec::new() };
        found.visit_file(&parsed);
        let (uses, paths) = (found.uses, found.paths);
        self.0.push(Module { file: crate::shown(file), path: path.clone(), uses, paths });
        for item in parsed.items.iter() {
            let Item::Mod(module) = item else { continue };
            if module.content.is_some() || !tests && is_test(&module.attrs) {
                continue;
            }
            let name = module.ident.to_string();
            let below = file_of(file, &name, &module.attrs);
            self.add(&below, path.iter().cloned().chain([name]).collect(), tests);
        }
    }

    /// The files that `module` imports from, each with the path that says so. A `mod` and a re-export of a module's own
    /// children are no imports.
    pub(crate) fn imports(&self, module: usize) -> Vec<(usize, String)> {
        let of = &self.0[module];
        let listed = |target: usize| self.0[target].path.starts_with(&of.path);
        let mut found = Vec::new();
        for used in &of.uses {
            let target = match (self.resolve(module, &used.path, 0), used.glob) {
                (Some(Target::Item(target)), _) | (Some(Target::Module(target)), true) => target,
                _ => continue,
            };
            if !(used.public && listed(target)) {
                found.push((target, used.path.join("::")));
            }
        }
        for path in &of.paths {
            if let Some(Target::Item(target)) = self.resolve(module, path, 0) {
                found.push((target, path.join("::")));
            }
        }
        found.retain(|(target, _)| *target != module);
        found
    }

    /// Follows a path from `module`: through modules, names that were brought in, and re-exports.
    fn resolve(&self, module: usize, path: &[String], depth: usize) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        if depth > REEXPORTS_MAX {
            return None;
        }
        if first == "crate" {
            return self.walk(0, rest, depth);
        }
        if let Some(child) = self.child(module, first) {
            return self.walk(child, rest, depth);
        }
        let used = self.0[module].uses.iter().find(|used| !used.glob && used.name == *first)?;
        // A name can't stand for itself: `use time::Duration` with a crate `time`.
        if used.path.first() == Some(first) {
            return None;
        }
        match self.resolve(module, &used.path, depth + 1)? {
            Target::Module(module) => self.walk(module, rest, depth + 1),
            item @ Target::Item(_) => Some(item),
        }
    }

    fn walk(&self, module: usize, path: &[String], depth: usize) -> Option<Target> {
        let Some((first, rest)) = path.split_first() else { return Some(Target::Module(module)) };
        if let Some(child) = self.child(module, first) {
            return self.walk(child, rest, depth);
        }
        if let Some(used) = self.0[module].uses.iter().find(|used| !used.glob && used.name == *first)
            && let Some(target) = self.resolve(module, &used.path, depth + 1)
        {
            return match target {
                Target::Module(module) => self.walk(module, rest, depth + 1),
                item @ Target::Item(_) => Some(item),
            };
        }
        Some(Target::Item(module))
    }

    fn child(&self, module: usize, name: &str) -> Option<usize> {
        let path = &self.0[module].path;
        self.0.iter().position(|other| {
            other.path.len() == path.len() + 1 && other.path.starts_with(path) && other.path.last().unwrap() == name
        })
    }
}

// === impl Module ===

impl Module {
    /// Every path that it names, absolute where it begins with `crate`, `self` or `super`.
    pub(crate) fn named(&self) -> impl Iterator<Item = &Vec<String>> {
        self.uses.iter().map(|used| &used.path).chain(&self.paths)
    }
}

/// The file of `mod name;` in `file`.
fn file_of(file: &Path, name: &str, attributes: &[Attribute]) -> PathBuf {
    let folder = file.parent().unwrap();
    let given = attributes.iter().find_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    if let Some(given) = given {
        return folder.join(given);
    }
    let stem = file.file_stem().unwrap().to_string_lossy();
    let folder = if ["lib", "mod", "main"].contains(&&*stem) { folder.to_owned() } else { folder.join(&*stem) };
    let single = folder.join(format!("{name}.rs"));
    if single.is_file() { single } else { folder.join(name).join("mod.rs") }
}

/// Collects the names of one file, its inline modules included.
struct Names {
    /// Where the visited code is.
    module: Vec<String>,
    tests: bool,
    uses: Vec<Use>,
    paths: Vec<Vec<String>>,
}

impl Names {
    /// The path from `crate` on, if it begins with `crate`, `self` or `super`; else as it is.
    fn absolute(&self, path: Vec<String>) -> Vec<String> {
        let mut place = self.module.clone();
        let mut rest = path.iter().peekable();
        match path.first().map(String::as_str) {
            Some("self") => drop(rest.next()),
            Some("super") => {}
            _ => return path,
        }
        while rest.next_if(|segment| *segment == "super").is_some() {
            place.pop();
        }
        ["crate".to_owned()].into_iter().chain(place).chain(rest.cloned()).collect()
    }

    fn push(&mut self, path: Vec<String>) {
        if path.len() > 1 {
            let path = self.absolute(path);
            self.paths.push(path);
        }
    }

    fn push_uses(&mut self, tree: &UseTree, above: &[String], public: bool) {
        let path = |last: &str| above.iter().cloned().chain([last.to_owned()]).collect::<Vec<_>>();
        let (name, path, glob) = match tree {
            UseTree::Path(step) => return self.push_uses(&step.tree, &path(&step.ident.to_string()), public),
            UseTree::Group(group) => return group.items.iter().for_each(|tree| self.push_uses(tree, above, public)),
            UseTree::Name(name) if name.ident == "self" => {
                (above.last().cloned().unwrap_or_default(), above.to_vec(), false)
            }
            UseTree::Name(name) => (name.ident.to_string(), path(&name.ident.to_string()), false),
            UseTree::Rename(name) => (name.rename.to_string(), path(&name.ident.to_string()), false),
            UseTree::Glob(_) => (String::new(), above.to_vec(), true),
        };
        let path = self.absolute(path);
        self.uses.push(Use { name, path, public, glob });
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.content.is_none() || !self.tests && is_test(&module.attrs) {
            return;
        }
        self.module.push(module.ident.to_string());
        syn::visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if self.tests || !is_test(&function.attrs) {
            syn::visit::visit_item_fn(self, function);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if self.tests || !is_test(&item.attrs) {
            syn::visit::visit_item_impl(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if self.tests || !is_test(&item.attrs) {
            self.push_uses(&item.tree, &[], !matches!(item.vis, Visibility::Inherited));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }

    /// The arguments of a macro are not parsed, so their paths are read from its words.
    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        let text = called.tokens.to_string().replace("::", " :: ");
        let mut path: Vec<String> = Vec::new();
        let mut joined = false;
        for word in text.split_whitespace() {
            let name: String = word.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if word == "::" {
                joined = !path.is_empty();
                continue;
            }
            if !joined {
                let whole = std::mem::take(&mut path);
                self.push(whole);
            }
            joined = false;
            let starts = name.starts_with(|first: char| first.is_alphabetic() || first == '_');
            if starts {
                path.push(name.clone());
            }
            if !starts || name.len() < word.len() {
                let whole = std::mem::take(&mut path);
                self.push(whole);
            }
        }
        self.push(path);
        syn::visit::visit_macro(self, called);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str, module: &[&str], tests: bool) -> Vec<String> {
        let module = module.iter().map(|name| (*name).to_owned()).collect();
        let mut found = Names { module, tests, uses: Vec::new(), paths: Vec::new() };
        found.visit_file(&syn::parse_file(text).unwrap());
        let uses = found.uses.iter().map(|used| &used.path);
        uses.chain(&found.paths).map(|path| path.join("::")).collect()
    }

    #[test]
    fn names_in_code_and_in_macros_count_as_those_of_a_use_do() {
        let text = "use super::{a::B, c as d};
            fn f() -> crate::e::F { assert!(self::g::h(1) == crate::i::J, \"{}\", super::super::k::l()); m.n() }";
        let found = named(text, &["x", "y"], false);
        let all = ["crate::x::a::B", "crate::x::c", "crate::e::F", "crate::x::y::g::h", "crate::i::J", "crate::k::l"];
        assert_eq!(found, all);
    }

    #[test]
    fn names_in_tests_count_only_where_asked_for() {
        let text = "#[cfg(test)] mod tests { use crate::a::B; } #[cfg(test)] fn f() { crate::c::d(); }";
        assert_eq!(named(text, &[], false), Vec::<String>::new());
        assert_eq!(named(text, &[], true), ["crate::a::B", "crate::c::d"]);
    }

    #[test]
    fn an_import_leads_to_the_file_that_defines_the_item() {
        let module = |path: &[&str], uses: &[(&str, &str, bool)]| Module {
            file: path.join("/"),
            path: path.iter().map(|name| (*name).to_owned()).collect(),
            uses: uses.iter().map(|(name, path, public)| used(name, path, *public)).collect(),
            paths: Vec::new(),
        };
        // `a` re-exports what `a::b` defines; `c` uses it by way of `a`.
        let modules = Modules(vec![
            module(&[], &[]),
            module(&["a"], &[("Item", "b::Item", true)]),
            module(&["a", "b"], &[("c", "crate::c::thing", false)]),
            module(&["c"], &[("Item", "crate::a::Item", false)]),
        ]);
        let imports = |of: usize| modules.imports(of).into_iter().map(|(to, _)| to).collect::<Vec<_>>();
        assert_eq!(imports(1), [0; 0], "a folder may list its content");
        assert_eq!((imports(3), imports(2)), (vec![2], vec![3]));
        let circles = crate::circles(&modules);
        assert_eq!(circles.len(), 1);
        assert_eq!(circles[0].files.iter().collect::<Vec<_>>(), ["a/b", "c"]);
    }

    fn used(name: &str, path: &str, public: bool) -> Use {
        let path = path.split("::").map(str::to_owned).collect();
        Use { name: name.to_owned(), path, public, glob: false }
    }
}
