//! The name and address under which each engine is announced now.
//!
//! Must not know why an engine was replaced. Every name ends in the engine's number, by which invariants identify it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use murmuration::id::EndpointId;

use super::engine::PORT;
use super::net::Places;
use crate::plan::Replacement;

/// The directory. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    places: Places,
    engines: Arc<Mutex<Vec<Instance>>>,
}

/// How often an engine got a new name, and how often a new address.
#[derive(Clone, Copy, Debug, Default)]
struct Instance {
    names: u32,
    moves: u16,
}

// === impl Directory ===

impl Directory {
    /// `engines` engines, each with its first name and address.
    pub(super) fn new(places: Places, engines: usize) -> Self {
        Self { places, engines: Arc::new(Mutex::new(vec![Instance::default(); engines])) }
    }

    /// The current name of an engine.
    pub(super) fn id(&self, engine: usize) -> EndpointId {
        let name = match self.instance(engine).names {
            0 => format!("engine-{engine}"),
            names => format!("engine-n{names}-{engine}"),
        };
        EndpointId::new("town", &name)
    }

    /// The current address of an engine.
    pub(super) fn address(&self, engine: usize) -> SocketAddr {
        let ip = self.places.later_ip(self.places.engine(engine), self.instance(engine).moves);
        SocketAddr::new(ip, PORT)
    }

    /// The engine that has this name now.
    pub(super) fn named(&self, id: &EndpointId) -> Option<usize> {
        (0..self.count()).find(|engine| self.id(*engine) == *id)
    }

    /// The engine that has this address now or had it before.
    pub(super) fn at(&self, address: SocketAddr) -> Option<usize> {
        let node = self.places.node(address.ip()).filter(|_| address.port() == PORT)?;
        (0..self.count()).find(|engine| self.places.engine(*engine) == node)
    }

    /// Gives an engine a new name or address.
    pub(super) fn replace(&self, engine: usize, with: Replacement) {
        let mut all = self.all();
        let Some(instance) = all.get_mut(engine) else { return };
        match with {
            Replacement::NewName => instance.names += 1,
            Replacement::NewAddress => instance.moves = instance.moves.wrapping_add(1),
        }
    }

    fn count(&self) -> usize {
        self.all().len()
    }

    fn instance(&self, engine: usize) -> Instance {
        self.all().get(engine).copied().unwrap_or_default()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Instance>> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ClusterSpec;

    #[test]
    fn a_replaced_engine_is_found_under_its_new_name_alone_and_at_all_its_addresses() {
        let cluster = ClusterSpec::default();
        let directory = Directory::new(Places::new(&cluster), cluster.engines);
        let (name, address) = (directory.id(2), directory.address(2));
        directory.replace(2, Replacement::NewName);
        assert_eq!((directory.named(&name), directory.named(&directory.id(2))), (None, Some(2)));
        assert_eq!(directory.address(2), address);
        directory.replace(2, Replacement::NewAddress);
        assert_ne!(directory.address(2), address);
        assert_eq!((directory.at(address), directory.at(directory.address(2))), (Some(2), Some(2)));
        assert_eq!(
            (directory.id(1), directory.at((address.ip(), 1).into())),
            (EndpointId::new("town", "engine-1"), None)
        );
    }
}
