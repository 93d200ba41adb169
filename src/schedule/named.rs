//! A plugin under the name that a configuration gives it.
//!
//! Must not know roles.

use std::sync::Arc;

/// A plugin and its name in the configuration.
#[derive(Debug)]
pub struct Named<P: ?Sized> {
    /// The name, by default the plugin's type.
    pub name: String,
    /// The type.
    pub kind: &'static str,
    /// The plugin; profiles that reference the same one share it.
    pub plugin: Arc<P>,
}

// === impl Named ===

impl<P: ?Sized> Named<P> {
    /// A plugin of the type `kind` under `name`.
    pub fn new(name: impl Into<String>, kind: &'static str, plugin: Arc<P>) -> Self {
        Self { name: name.into(), kind, plugin }
    }
}

impl<P: ?Sized> Clone for Named<P> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), kind: self.kind, plugin: self.plugin.clone() }
    }
}
