//! Descriptions of types and their fields, read from the doc comments of the source.
//!
//! Must not know configurations: it reads what serde would read, with its names.

use std::collections::BTreeMap;
use std::fs;

use syn::{Attribute, Fields, Item, ItemEnum, ItemStruct, LitStr, Type};

use crate::source_files::rust_files;

/// The items of some source files.
pub(crate) struct Source {
    files: BTreeMap<String, syn::File>,
}

/// A struct or enum, and the file that holds it.
#[derive(Clone, Copy)]
pub(crate) enum Found<'s> {
    Struct(&'s ItemStruct),
    Enum(&'s ItemEnum),
}

/// One field of a struct, with those of its own struct below it.
pub(crate) struct FieldDoc {
    /// Its path from the outermost struct; `[]` stands for an item of a list.
    pub(crate) path: String,
    /// What it holds, such as "a number".
    pub(crate) kind: String,
    /// Its description.
    pub(crate) text: String,
}

// === impl Source ===

impl Source {
    /// Every file under `folder`, by its path from the repository's root.
    pub(crate) fn read(folder: &str) -> Self {
        let root = crate::root();
        let files = rust_files(&root.join(folder)).into_iter().map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let parsed = syn::parse_file(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            (path.strip_prefix(root).unwrap().display().to_string(), parsed)
        });
        Self { files: files.collect() }
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &syn::File)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// The type `name`: of `file` if it is there, else the only one of that name.
    pub(crate) fn find(&self, name: &str, file: &str) -> Option<(&str, Found<'_>)> {
        let here = self.files().filter(|(path, _)| *path == file);
        let elsewhere = self.files().filter(|(path, _)| *path != file);
        here.chain(elsewhere).find_map(|(path, parsed)| {
            let found = parsed.items.iter().find_map(|item| match item {
                Item::Struct(item) if item.ident == name => Some(Found::Struct(item)),
                Item::Enum(item) if item.ident == name => Some(Found::Enum(item)),
                _ => None,
            });
            found.map(|found| (path, found))
        })
    }

    /// The fields of the struct `name`, as serde names them, each struct's own after it.
    pub(crate) fn fields(&self, name: &str, file: &str) -> Vec<FieldDoc> {
        let mut found = Vec::new();
        self.push_fields(name, file, "", &mut found);
        found
    }

    fn push_fields(&self, name: &str, file: &str, above: &str, found: &mut Vec<FieldDoc>) {
        let Some((file, Found::Struct(item))) = self.find(name, file) else { return };
        let casing = serde_value(&item.attrs, "rename_all");
        let Fields::Named(fields) = &item.fields else { return };
        for field in &fields.named {
            let ident = field.ident.as_ref().unwrap().to_string();
            let own = serde_value(&field.attrs, "rename").unwrap_or_else(|| cased(&ident, casing.as_deref()));
            let (kind, inner, list) = self.kind(&field.ty, file);
            let path = format!("{above}{own}{}", if list { "[]" } else { "" });
            let mut text = doc(&field.attrs);
            if let Some((_, Found::Enum(choice))) = inner.as_deref().and_then(|inner| self.find(inner, file)) {
                text.push_str(&choices(choice));
            }
            found.push(FieldDoc { path: path.clone(), kind, text });
            if let Some(inner) = inner {
                self.push_fields(&inner, file, &format!("{path}."), found);
            }
        }
    }

    /// What a type holds, the type of ours in it, and whether it is a list of them.
    fn kind(&self, of: &Type, file: &str) -> (String, Option<String>, bool) {
        let (name, arguments) = last_segment(of);
        match name.as_str() {
            "String" => ("text".to_owned(), None, false),
            "bool" => ("`true` or `false`".to_owned(), None, false),
            "f64" => ("a number".to_owned(), None, false),
            "i64" => ("a whole number".to_owned(), None, false),
            "u16" | "u32" | "u64" => ("a whole number, 0 or more".to_owned(), None, false),
            "Option" => self.kind(arguments[0], file),
            "Vec" => match self.kind(arguments[0], file) {
                (_, Some(inner), _) => ("a list".to_owned(), Some(inner), true),
                (kind, ..) => (format!("a list of: {kind}"), None, true),
            },
            "BTreeMap" => ("a mapping of text to text".to_owned(), None, false),
            "Value" => ("anything".to_owned(), None, false),
            _ => match self.find(&name, file) {
                Some((_, Found::Struct(_))) => ("a mapping".to_owned(), Some(name), false),
                Some((_, Found::Enum(_))) => ("one of these words".to_owned(), Some(name), false),
                None => panic!("{file}: what does a {name} hold? Add it to Source::kind"),
            },
        }
    }
}

/// The words of an enum, each with its description.
fn choices(item: &ItemEnum) -> String {
    let casing = serde_value(&item.attrs, "rename_all");
    let each = item.variants.iter().map(|variant| {
        let name = cased(&variant.ident.to_string(), casing.as_deref());
        format!(" `{name}`: {}", doc(&variant.attrs))
    });
    each.collect()
}

/// The doc comment, as one paragraph, with links to code as code.
pub(crate) fn doc(attributes: &[Attribute]) -> String {
    doc_lines(attributes).iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// The lines of the doc comment, with links to code as code.
pub(crate) fn doc_lines(attributes: &[Attribute]) -> Vec<String> {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let plain = |line: String| line.strip_prefix(' ').unwrap_or(&line).replace("[`", "`").replace("`]", "`");
    lines.map(plain).collect()
}

/// The value of `#[serde(key = "value")]`.
fn serde_value(attributes: &[Attribute], key: &str) -> Option<String> {
    let mut found = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        attribute
            .parse_nested_meta(|meta| {
                if meta.input.peek(syn::Token![=]) {
                    let value: LitStr = meta.value()?.parse()?;
                    if meta.path.is_ident(key) {
                        found = Some(value.value());
                    }
                }
                Ok(())
            })
            .unwrap();
    }
    found
}

/// A Rust name in serde's casing.
fn cased(name: &str, casing: Option<&str>) -> String {
    let capitals = name.starts_with(|first: char| first.is_uppercase());
    match casing {
        Some("camelCase") if capitals => name[..1].to_lowercase() + &name[1..],
        Some("camelCase") => {
            let mut words = name.split('_');
            let first = words.next().unwrap_or_default().to_owned();
            words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
        }
        Some("snake_case") if capitals => {
            let mut snake = String::new();
            for letter in name.chars() {
                if letter.is_uppercase() && !snake.is_empty() {
                    snake.push('_');
                }
                snake.extend(letter.to_lowercase());
            }
            snake
        }
        Some(other) if other != "snake_case" => panic!("serde's {other} is not known here"),
        _ => name.to_owned(),
    }
}

/// The last word of a type's path, and its type arguments.
pub(crate) fn last_segment(of: &Type) -> (String, Vec<&Type>) {
    let Type::Path(path) = of else { return (String::new(), Vec::new()) };
    let last = path.path.segments.last().unwrap();
    let arguments = match &last.arguments {
        syn::PathArguments::AngleBracketed(all) => all.args.iter().filter_map(|argument| match argument {
            syn::GenericArgument::Type(of) => Some(of),
            _ => None,
        }),
        _ => return (last.ident.to_string(), Vec::new()),
    };
    (last.ident.to_string(), arguments.collect())
}
