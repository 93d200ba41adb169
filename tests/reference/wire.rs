//! The page of wire records: versions, kinds, and what each record carries, from the codec and the vocabulary.
//!
//! Must not know any kind.

use std::collections::BTreeMap;
use std::fs;

use murmuration::replication::codec;
use syn::visit::Visit;
use syn::{Expr, Fields, Item, Lit, Pat, RangeLimits, Type};

use crate::descriptions::{Found, Source, doc, doc_lines, last_segment};
use crate::markdown::{NOTE, code, table};

const INTRO: &str = "\
# Wire records

What one replica sends another, by peer stream or by gossip. [Concepts](../concepts.md#what-replicas-share) says why.
A kind that a replica does not know is skipped and counted, so releases can mix in one tier.
";

/// The file that says how a batch is laid out.
const CODEC: &str = "src/replication/codec.rs";
/// The functions that may say which version brought a kind: a `match` over constants, with the version in each arm.
const KNOWN: [&str; 2] = ["since", "known"];

/// A kind of fact on the wire.
struct Kind {
    number: u64,
    name: String,
    text: String,
}

/// The page.
pub(crate) fn page() -> String {
    let source = Source::read("src/replication");
    let mut text = format!("{INTRO}\n{NOTE}\n## Versions and bounds\n\n{}", bounds());
    text.push_str(&format!("\n## Layout\n\n{}\n", layout(&source)));
    text.push_str(&format!("\n## A batch\n\n{}", records(&source, "Batch")));
    text.push_str(&format!("\n## A fact\n\n{}", records(&source, "Fact")));
    text.push_str(&format!("\n## Kinds\n\n{}", kinds(&source)));
    text.push_str(&format!("\n## Records\n{}", variants(&source)));
    let proto = fs::read_to_string(crate::root().join("proto/peer.proto")).unwrap();
    text.push_str(&format!("\n## The peer stream\n\n```proto\n{proto}```\n"));
    text
}

/// What the codec's own file says of the bytes.
fn layout(source: &Source) -> String {
    let (_, codec) = source.files().find(|(path, _)| *path == CODEC).expect(CODEC);
    let lines = doc_lines(&codec.attrs);
    format!("`{CODEC}` says:\n\n{}", lines.join("\n").trim())
}

fn bounds() -> String {
    let rows = [
        ("format of a batch", u64::from(codec::FORMAT)),
        ("version written, and the highest that is read completely", u64::from(codec::VERSION)),
        ("lowest version that is understood", u64::from(codec::VERSION_MIN)),
        ("bytes of a batch, at most", codec::BATCH_BYTES_MAX as u64),
        ("bytes of a replica's name, at most", codec::NAME_BYTES_MAX as u64),
        ("adapter names of each kind in a load report, at most", codec::ADAPTERS_MAX as u64),
    ];
    let rows: Vec<Vec<String>> = rows.iter().map(|(what, value)| vec![(*what).to_owned(), value.to_string()]).collect();
    table(&["what", "value"], &rows)
}

/// The fields of a struct of the vocabulary.
fn records(source: &Source, name: &str) -> String {
    let (_, Found::Struct(item)) = source.find(name, "src/replication/record.rs").expect(name) else {
        panic!("{name} is no struct")
    };
    let Fields::Named(fields) = &item.fields else { panic!("{name} has no named fields") };
    let row = |field: &syn::Field| {
        vec![code(&field.ident.as_ref().unwrap().to_string()), code(&type_name(&field.ty)), doc(&field.attrs)]
    };
    let rows: Vec<Vec<String>> = fields.named.iter().map(row).collect();
    format!("{}\n\n{}", doc(&item.attrs), table(&["field", "type", "what"], &rows))
}

fn type_name(of: &Type) -> String {
    let (name, arguments) = last_segment(of);
    match arguments.first() {
        Some(argument) => format!("{name}<{}>", type_name(argument)),
        None => name,
    }
}

/// Every variant of `Record`, with the fields that it carries.
fn variants(source: &Source) -> String {
    let (file, Found::Enum(item)) = source.find("Record", "src/replication/record.rs").expect("Record") else {
        panic!("Record is no enum")
    };
    let mut text = String::new();
    for variant in &item.variants {
        text.push_str(&format!("\n### {}\n\n{}\n", variant.ident, doc(&variant.attrs)));
        for field in &variant.fields {
            let name = type_name(&field.ty);
            match source.find(&name, file) {
                Some((_, Found::Struct(_))) => text.push_str(&format!("\n{}", records(source, &name))),
                _ => text.push_str(&format!("\nIt carries one {}.\n", code(&name))),
            }
        }
    }
    text
}

/// The kinds that the codec knows, by number.
fn kinds(source: &Source) -> String {
    let files: Vec<&syn::File> = source.files().filter(|(path, _)| is_codec(path)).map(|(_, file)| file).collect();
    let items = || files.iter().flat_map(|file| &file.items);
    let constants = items().filter_map(|item| match item {
        Item::Const(item) if type_name(&item.ty) == "u8" => {
            Some(Kind { number: number(&item.expr)?, name: item.ident.to_string(), text: doc(&item.attrs) })
        }
        _ => None,
    });
    let constants: Vec<Kind> = constants.collect();
    let mut arms = Arms { constants: &constants, since: BTreeMap::new() };
    for item in items() {
        match item {
            Item::Fn(item) if KNOWN.iter().any(|name| item.sig.ident == name) => arms.visit_block(&item.block),
            _ => {}
        }
    }
    let since = arms.since;
    assert!(since.len() > 5, "which function of the codec says since when there is a kind? Name it in KNOWN");
    let named = constants.iter().filter_map(|kind| Some((kind, since.get(kind.name.as_str())?)));
    let mut rows: Vec<(u64, Vec<String>)> = named
        .map(|(kind, since)| {
            (kind.number, vec![kind.number.to_string(), code(&kind.name), since.to_string(), kind.text.clone()])
        })
        .collect();
    rows.sort();
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(_, row)| row).collect();
    table(&["kind", "name", "since version", "remark"], &rows)
}

fn is_codec(path: &str) -> bool {
    path.starts_with(CODEC.trim_end_matches(".rs")) && !path.contains("test")
}

/// Reads since when there is each kind, by the constant's name.
struct Arms<'k> {
    constants: &'k [Kind],
    since: BTreeMap<&'k str, u64>,
}

impl<'ast> Visit<'ast> for Arms<'_> {
    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let version = match arm.body.as_ref() {
            Expr::Call(some) => some.args.first().and_then(number),
            Expr::Tuple(pair) => pair.elems.first().and_then(number),
            _ => None,
        };
        if let Some(version) = version {
            self.named(&arm.pat, version);
        }
    }
}

impl Arms<'_> {
    fn named(&mut self, pattern: &Pat, version: u64) {
        match pattern {
            Pat::Or(any) => any.cases.iter().for_each(|case| self.named(case, version)),
            Pat::Ident(one) => self.know(&|kind| one.ident == kind.name, version),
            Pat::Range(range) => {
                assert!(matches!(range.limits, RangeLimits::Closed(_)), "a range of kinds includes its end");
                let (from, to) = (self.end(range.start.as_deref()), self.end(range.end.as_deref()));
                self.know(&|kind| (from..=to).contains(&kind.number), version);
            }
            _ => {}
        }
    }

    fn know(&mut self, is: &dyn Fn(&Kind) -> bool, version: u64) {
        let kinds = self.constants.iter().filter(|kind| is(kind) && !kind.name.contains("FORMAT"));
        let kinds = kinds.filter(|kind| !kind.name.contains("VERSION"));
        self.since.extend(kinds.map(|kind| (kind.name.as_str(), version)));
    }

    /// The number of a range's end.
    fn end(&self, end: Option<&Expr>) -> u64 {
        let Some(Expr::Path(path)) = end else { panic!("a range of kinds has two named ends") };
        let name = path.path.segments.last().unwrap().ident.to_string();
        self.constants
            .iter()
            .find(|kind| kind.name == name)
            .unwrap_or_else(|| panic!("no kind is called {name}"))
            .number
    }
}

fn number(expression: &Expr) -> Option<u64> {
    match expression {
        Expr::Lit(syn::ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse().ok(),
        _ => None,
    }
}
