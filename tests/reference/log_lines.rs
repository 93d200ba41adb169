//! The messages that the runtime logs at `warn` and `error`, read from its source.
//!
//! Must not know what they mean.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use syn::visit::Visit;
use syn::{LitStr, Macro};

use crate::source_files::{is_test, rust_files};

#[derive(Default)]
struct Messages(BTreeSet<String>);

/// Every message, without the values that a line carries.
pub(crate) fn of_trouble() -> Vec<String> {
    let mut messages = Messages::default();
    for path in rust_files(&crate::root().join("actors/src")) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.contains("test") || path.components().any(|part| part.as_os_str() == "tests") {
            continue;
        }
        messages.visit_file(&parsed(&path));
    }
    messages.0.into_iter().collect()
}

fn parsed(path: &Path) -> syn::File {
    let text = fs::read_to_string(path).unwrap();
    syn::parse_file(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

impl<'ast> Visit<'ast> for Messages {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test(&module.attrs) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        let name = called.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        if name == "warn" || name == "error" {
            let message = last_text(called).unwrap_or_else(|| panic!("a {name}! without a message"));
            self.0.insert(message);
        }
    }
}

/// The last text of a macro's arguments: tracing's message comes after the fields.
fn last_text(called: &Macro) -> Option<String> {
    let mut last = None;
    for token in called.tokens.clone() {
        last = syn::parse_str::<LitStr>(&token.to_string()).ok().or(last);
    }
    last.map(|text| text.value())
}
