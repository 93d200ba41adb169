//! What a settings plugin builds: a part of the blueprint.
//!
//! Must not know parameters.

use crate::config::blueprint::{
    EngineSettings, FileDiscovery, InFlightSettings, Parser, PrefixSettings, RendererSettings, SaturationSettings,
    ScrapeSettings,
};
use crate::fleet::TopologyLabels;

/// A part of the blueprint.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) enum Part {
    Prefix(PrefixSettings),
    InFlight(InFlightSettings),
    Tokens(Option<RendererSettings>),
    Scrape(ScrapeSettings),
    Engines(EngineSettings),
    Discovery(FileDiscovery),
    Parser(Parser),
    Saturation(SaturationSettings),
    Topology(TopologyLabels),
    StageHeaders,
}

/// Bytes per token in the estimate; llm-d's figure.
pub(in crate::config) const BYTES_PER_TOKEN: u32 = 4;
