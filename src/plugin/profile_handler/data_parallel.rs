//! `data-parallel-profile-handler`: ranks behind one port of their host.
//!
//! Must not know how the port gets into the destination; the decision carries it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::single::SingleProfileHandler;
use crate::plugin::contract::{ProfileHandler, Runs};
use crate::plugin::registration::{Invalid, Plugin, Produced, Roles};
use crate::schedule::{Step, Steps};

/// llm-d's parameters and defaults.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct DataParallelParameters {
    /// The port that requests are sent to, 1 to 65535.
    primary_port: u16,
}

/// `data-parallel-profile-handler`: runs the only profile over endpoints that are data-parallel ranks, each with a port
/// of its own. The request is sent to one port of the chosen rank's host, where a sidecar passes it on to the rank that
/// the header `x-data-parallel-host-port` names. Deprecated in llm-d: gateways that know several ports of a pool need
/// no such handler.
#[derive(Clone, Copy, Debug)]
pub struct DataParallelProfileHandler {
    port: u16,
}

// === impl DataParallelParameters ===

impl Default for DataParallelParameters {
    fn default() -> Self {
        Self { primary_port: 8000 }
    }
}

// === impl DataParallelProfileHandler ===

impl ProfileHandler for DataParallelProfileHandler {
    fn runs(&self) -> Runs<'_> {
        Runs::TheOnly
    }

    fn primary_port(&self) -> Option<u16> {
        Some(self.port)
    }

    fn next<'h>(&'h self, steps: &mut Steps<'h>) -> Step<'h> {
        SingleProfileHandler.only(steps)
    }
}

impl Plugin for DataParallelProfileHandler {
    const TYPE: &'static str = "data-parallel-profile-handler";
    const READS: &'static [Produced] = &[];
    type Parameters = DataParallelParameters;

    fn build(parameters: DataParallelParameters) -> Result<Self, Invalid> {
        match parameters.primary_port {
            0 => Err("primaryPort must be 1 to 65535, got 0".to_owned()),
            port => Ok(Self { port }),
        }
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::profile_handler(self)
    }
}
