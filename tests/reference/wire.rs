//! The page of wire records: versions, kinds, and what each record carries, from the codec and the vocabulary.
//!
//! Must not know any kind.

use std::collections::BTreeMap;
use std::fs;

use murmuration::replication::codec;
use syn::visit::Visit;
use syn::{Expr, Fields, Item, Lit, Pat, RangeLimits, Type, Visibility};

use crate::descriptions::{Found, Source, doc, last_segment};
use crate::markdown::{NOTE, code, table};

const INTRO: &str = "\
# Wire records

What one replica sends another, by peer stream or by gossip. [Concepts](../concepts.md#what-replicas-share) says why.
Only `src/replication/codec.rs` knows the bytes: a format byte, then bincode with variable-length integers, little-endian.
A kind that a replica does not know is skipped and counted, so releases can mix in one tier.
";

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
    text.push_str(&format!("\n## A batch\n\n{}", records(&source, "Batch")));
    text.push_str(&format!("\n## A fact\n\n{}", records(&source, "Fact")));
    text.push_str(&format!("\n## Kinds\n\n{}", kinds(&source)));
    text.push_str(&format!("\n## Records\n{}", variants(&source)));
    let proto = fs::read_to_string(crate::root().join("proto/peer.proto")).unwrap();
    text.push_str(&format!("\n## The peer stream\n\n```proto\n{proto}```\n"));
    text
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

/// The kinds: private constants of one byte in the codec.
fn kinds(source: &Source) -> String {
    let mut kinds: Vec<Kind> = Vec::new();
    let mut since = BTreeMap::new();
    for (path, file) in source.files().filter(|(path, _)| path.starts_with("src/replication/codec")) {
        for item in file.items.iter().filter(|_| !path.contains("test")) {
            match item {
                Item::Const(item) if type_name(&item.ty) == "u8" && !matches!(item.vis, Visibility::Public(_)) => {
                    kinds.push(Kind {
                        number: number(&item.expr).unwrap_or_else(|| panic!("{path}: {} is no number", item.ident)),
                        name: item.ident.to_string(),
                        text: doc(&item.attrs),
                    });
                }
                Item::Fn(item) if item.sig.ident == "since" => {
                    let mut arms = Arms { kinds: &kinds, since: &mut since };
                    arms.visit_block(&item.block);
                }
                _ => {}
            }
        }
    }
    assert!(
        !since.is_empty(),
        "the codec has no `fn since(kind)` any more; teach tests/reference/wire.rs its successor"
    );
    let row = |kind: &Kind| {
        let first = since.get(&kind.number).unwrap_or_else(|| panic!("since when is there {}?", kind.name));
        vec![kind.number.to_string(), code(&kind.name), first.to_string(), kind.text.clone()]
    };
    let rows: Vec<Vec<String>> = kinds.iter().map(row).collect();
    table(&["kind", "name", "since version", "remark"], &rows)
}

/// Reads `fn since`: which version brought which kinds.
struct Arms<'k> {
    kinds: &'k [Kind],
    since: &'k mut BTreeMap<u64, u64>,
}

impl<'ast> Visit<'ast> for Arms<'_> {
    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let Expr::Call(some) = arm.body.as_ref() else { return };
        let Some(version) = some.args.first().and_then(number) else { return };
        for kind in self.named(&arm.pat) {
            self.since.insert(kind, version);
        }
    }
}

impl Arms<'_> {
    fn named(&self, pattern: &Pat) -> Vec<u64> {
        match pattern {
            Pat::Or(any) => any.cases.iter().flat_map(|case| self.named(case)).collect(),
            Pat::Ident(one) => vec![self.number_of(&one.ident.to_string())],
            Pat::Range(range) => {
                assert!(matches!(range.limits, RangeLimits::Closed(_)), "a range of kinds includes its end");
                let end = |end: &Option<Box<Expr>>| match end.as_deref() {
                    Some(Expr::Path(path)) => self.number_of(&path.path.segments.last().unwrap().ident.to_string()),
                    _ => panic!("a range of kinds has two named ends"),
                };
                let (from, to) = (end(&range.start), end(&range.end));
                self.kinds.iter().map(|kind| kind.number).filter(|kind| (from..=to).contains(kind)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn number_of(&self, name: &str) -> u64 {
        self.kinds.iter().find(|kind| kind.name == name).unwrap_or_else(|| panic!("no kind is called {name}")).number
    }
}

fn number(expression: &Expr) -> Option<u64> {
    match expression {
        Expr::Lit(syn::ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse().ok(),
        _ => None,
    }
}
