//! The page of the configuration: sections, the endpoints file, and every plugin type with its parameters.
//!
//! Types, defaults and what they read come from the catalog; descriptions from the doc comments beside the code. A
//! plugin's is that of its struct and begins with its type; a setting's is that of its name in `config/parts/mod.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use murmuration::config::reference::{self, DocumentField, PluginType};
use murmuration::plugin::{Catalog, Produced};
use serde_json::Value;
use syn::visit::Visit;
use syn::{Expr, ImplItem, Item, Lit, Pat};

use crate::descriptions::{FieldDoc, Found, Source, doc, last_segment};
use crate::markdown::{NOTE, code, table};

const INTRO: &str = "\
# Configuration

`murmuration serve --config-file FILE` reads an `EndpointPickerConfig`: llm-d's format, with llm-d's names and defaults.
`murmuration check --config-file FILE` prints it with every default written out, or all of its errors.
[deploy/config](../../deploy/config) has samples. Without a file [`default.yaml`](../../deploy/config/default.yaml)
applies.
";

const PLUGINS: &str = "\
What a plugin reads beside the engines' reports is only kept up while a plugin reads it. Where a profile's plugins read
something, its producer is added.
";

/// Roles in the page's order, each with its heading.
const ROLES: [(&str, &str); 15] = [
    ("a filter", "Filters"),
    ("a scorer", "Scorers"),
    ("a picker", "Pickers"),
    ("a profile handler", "Profile handlers"),
    ("a decider", "Deciders"),
    ("an admission plugin", "Admission"),
    ("a response hook", "Response hooks"),
    ("a header writer", "Header writers"),
    ("a data producer", "Data producers"),
    ("a data source", "Data sources"),
    ("an extractor", "Extractors"),
    ("an extractor of places", "Extractors of places"),
    ("a discovery", "Discovery"),
    ("a parser", "Parsers"),
    ("a saturation detector", "Saturation detectors"),
];

/// What the source says about a plugin type.
#[derive(Default)]
struct PluginDoc {
    text: String,
    parameters: Vec<FieldDoc>,
}

/// The page.
pub(crate) fn page() -> String {
    let docs = plugin_docs();
    let types = reference::plugin_types(&Catalog::builtin());
    let mut text = format!("{INTRO}\n{NOTE}");
    text.push_str(&format!("\n## Sections\n\n{}", fields(reference::CONFIGURATION)));
    text.push_str(&format!("\n## The endpoints file\n\n{}", fields(reference::ENDPOINTS_FILE)));
    text.push_str(&format!("\n## Plugins\n\n{PLUGINS}"));
    for plugin in &types {
        assert!(ROLES.iter().any(|(role, _)| *role == plugin.role), "the role {:?} is new", plugin.role);
    }
    for (role, heading) in ROLES {
        text.push_str(&format!("\n### {heading}\n"));
        for plugin in types.iter().filter(|plugin| plugin.role == role) {
            let doc = docs.get(plugin.name).unwrap_or_else(|| panic!("`{}` has no doc in the source", plugin.name));
            text.push_str(&section(plugin, doc));
        }
    }
    let later: Vec<String> = reference::types_not_here_yet().iter().map(|name| code(name)).collect();
    text.push_str(&format!(
        "\n## Known to llm-d and not here yet\n\nA configuration that declares one of these is refused by name:\n{}.\n",
        later.join(", ")
    ));
    text
}

fn fields(fields: &[DocumentField]) -> String {
    let needed = |required: bool| if required { "yes" } else { "" };
    let row = |field: &DocumentField| vec![code(field.path), needed(field.required).to_owned(), field.does.to_owned()];
    let rows: Vec<Vec<String>> = fields.iter().map(row).collect();
    table(&["field", "required", "what it does"], &rows)
}

fn section(plugin: &PluginType, doc: &PluginDoc) -> String {
    assert!(doc.text.ends_with('.') && doc.text.len() > 30, "`{}` needs a sentence: {:?}", plugin.name, doc.text);
    let reads: Vec<&str> = plugin.reads.iter().map(reads).collect();
    let reads = if reads.is_empty() { String::new() } else { format!(" Reads {}.", reads.join(" and ")) };
    let mut text = format!("\n#### `{}`\n\n{}{reads}\n", plugin.name, capital(&doc.text));
    if doc.parameters.is_empty() {
        return text + "\nIt takes no parameters.\n";
    }
    let rows = doc.parameters.iter().map(|field| {
        assert!(field.text.ends_with('.'), "`{}`: {} needs a description: {:?}", plugin.name, field.path, field.text);
        vec![code(&field.path), field.kind.clone(), default(plugin, &field.path), field.text.clone()]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    text.push_str(&format!("\n{}", table(&["parameter", "value", "default", "what it does"], &rows)));
    text
}

fn reads(what: &Produced) -> &'static str {
    match what {
        Produced::PrefixMatch => "how much of the prompt each endpoint holds (`approx-prefix-cache-producer`)",
        Produced::InFlightLoad => "what is dispatched and not finished (`inflight-load-producer`)",
    }
}

/// The default at `path`. Items of lists have none of their own.
fn default(plugin: &PluginType, path: &str) -> String {
    if plugin.required.contains(&path) {
        return "required".to_owned();
    }
    let names: Vec<&str> = path.split('.').collect();
    if names[..names.len() - 1].iter().any(|name| name.ends_with("[]")) {
        return String::new();
    }
    let at = names.iter().fold(&plugin.defaults, |value, name| &value[name.trim_end_matches("[]")]);
    match at {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "none".to_owned(),
        Value::String(text) => code(text),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) if items.iter().all(|item| item["name"].is_string()) => {
            let names: Vec<String> = items.iter().filter_map(|item| item["name"].as_str()).map(code).collect();
            names.join(", ")
        }
        Value::Object(fields) if fields.is_empty() => "none".to_owned(),
        Value::Object(_) => String::new(),
        other => code(&other.to_string()),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str()).unwrap_or_default()
}

fn plugin_docs() -> BTreeMap<String, PluginDoc> {
    let plugins = Source::read("src/plugin");
    let mut docs = BTreeMap::new();
    for (path, file) in plugins.files() {
        for item in &file.items {
            let Some((name, of, parameters)) = declared(item) else { continue };
            let Some((_, Found::Struct(found))) = plugins.find(&of, path) else { panic!("{path}: {of} is no struct") };
            let text = doc(&found.attrs);
            let begins = format!("`{name}`: ");
            let text = text.strip_prefix(&begins).unwrap_or_else(|| panic!("{path}: {of}'s doc must begin {begins}"));
            let parameters = parameters.map(|of| plugins.fields(&of, path)).unwrap_or_default();
            docs.insert(name, PluginDoc { text: text.to_owned(), parameters });
        }
    }
    docs.extend(part_docs());
    docs
}

/// A plugin's type name, its struct and its parameters, if `item` declares one: an `impl` with a constant `TYPE`.
fn declared(item: &Item) -> Option<(String, String, Option<String>)> {
    let Item::Impl(item) = item else { return None };
    let name = item.items.iter().find_map(|item| match item {
        ImplItem::Const(item) if item.ident == "TYPE" => text_of(&item.expr),
        _ => None,
    });
    let parameters = item.items.iter().find_map(|item| match item {
        ImplItem::Type(item) if item.ident == "Parameters" => Some(last_segment(&item.ty).0),
        _ => None,
    });
    Some((name?, last_segment(&item.self_ty).0, parameters.filter(|name| name != "NoParameters")))
}

fn text_of(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Lit(syn::ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

/// The parts that are settings: constants with a name each, and the module that builds each.
fn part_docs() -> Vec<(String, PluginDoc)> {
    const INDEX: &str = "src/config/parts/mod.rs";
    let parts = Source::read("src/config/parts");
    let (_, index) = parts.files().find(|(path, _)| *path == INDEX).expect(INDEX);
    let mut built = BuiltBy::default();
    built.visit_file(index);
    let constants = index.items.iter().filter_map(|item| match item {
        Item::Const(item) => text_of(&item.expr).map(|name| (item, name)),
        _ => None,
    });
    let docs = constants.map(|(item, name)| {
        let module = built.0.get(&item.ident.to_string());
        let file = module.map(|module| format!("src/config/parts/{module}.rs"));
        let parameters = file.map(|file| parts.fields("Parameters", &file)).unwrap_or_default();
        (name, PluginDoc { text: doc(&item.attrs), parameters })
    });
    docs.collect()
}

/// Every field that the code asks a document for.
pub(crate) fn fields_read(file: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(crate::root().join(file)).unwrap();
    let mut asked = Asked::default();
    asked.visit_file(&syn::parse_file(&text).unwrap());
    asked.0
}

/// Every field that the page has, one word for each step of its path.
pub(crate) fn fields_listed(fields: &[DocumentField]) -> BTreeSet<String> {
    let words = fields.iter().flat_map(|field| field.path.split('.'));
    words.map(|word| word.trim_end_matches("[]").to_owned()).collect()
}

/// The literals of `take("name")` and `require("name")`.
#[derive(Default)]
struct Asked(BTreeSet<String>);

impl<'ast> Visit<'ast> for Asked {
    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.method == "take" || call.method == "require" {
            self.0.extend(call.args.first().and_then(text_of));
        }
        syn::visit::visit_expr_method_call(self, call);
    }
}

/// Which module's `build` stands in the match's arm of a constant.
#[derive(Default)]
struct BuiltBy(BTreeMap<String, String>);

impl<'ast> Visit<'ast> for BuiltBy {
    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let (Pat::Ident(constant), Expr::Call(call)) = (&arm.pat, arm.body.as_ref()) else { return };
        if let Some(Expr::Path(build)) = call.args.last() {
            let module = build.path.segments.first().unwrap().ident.to_string();
            self.0.insert(constant.ident.to_string(), module);
        }
    }
}
