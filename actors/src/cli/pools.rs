//! Turns `--pool`, or `--config-file`, into the pools of a replica. All configurations are read before anything starts.
//!
//! Must not know what a pool does with its configuration.

use std::net::SocketAddr;

use murmuration::config::{self, ConfigErrors};
use murmuration::id::PoolId;
use murmuration::plugin::Catalog;
use murmuration::replication::{POOL_NAMES_BYTES_MAX, POOLS_MAX};
use tokio::net::TcpListener;

use super::failure::{Failure, USAGE};
use super::{kubernetes, replication};
use crate::args::{ConfigArgs, PoolArg, ServeArgs};
use crate::environment::Listener;
use crate::kubernetes::Source;
use crate::replica::{PoolSource, Pools, PromptSalt};

/// A pool whose configuration was read.
#[derive(Debug)]
pub(super) struct PoolFile {
    pub(super) id: PoolId,
    pub(super) config_text: String,
    pub(super) config_name: String,
    pub(super) salt: PromptSalt,
    /// Where its endpoints come from; `None` where its configuration says it.
    pub(super) source: Option<Source>,
    /// The port of ext-proc, and the flag that names it.
    pub(super) port: u16,
    pub(super) flag: &'static str,
}

/// All pools.
#[derive(Debug)]
pub(super) struct PoolFiles {
    pub(super) first: PoolFile,
    further: Vec<PoolFile>,
}

/// Reads and checks the configurations. `salt` is that of the default pool, and of all where none is configured.
pub(super) fn read(args: &ServeArgs, salt: PromptSalt, catalog: &Catalog) -> Result<PoolFiles, Failure> {
    let Some((first, further)) = args.pools.split_first() else {
        let (config_text, config_name) = config_text(&args.config)?;
        let source = source(check(None, (&config_text, &config_name), catalog)?, args, &config_name)?;
        let (port, flag) = (args.grpc_port, "--grpc-port");
        let first = PoolFile { id: PoolId::default(), config_text, config_name, salt, source, port, flag };
        return Ok(PoolFiles { first, further: Vec::new() });
    };
    if args.pools.len() > POOLS_MAX {
        let why = format!("--pool is given {} times, and a replica serves at most {POOLS_MAX}", args.pools.len());
        return Err(Failure::new(USAGE, why));
    }
    let bytes: usize = args.pools.iter().map(|pool| pool.id.as_str().len()).sum();
    if bytes > POOL_NAMES_BYTES_MAX {
        let why =
            format!("the names of all --pool have {bytes} bytes, and may have {POOL_NAMES_BYTES_MAX}; shorten them");
        return Err(Failure::new(USAGE, why));
    }
    if let Some(twice) =
        args.pools.iter().enumerate().find(|(n, pool)| args.pools[..*n].iter().any(|p| p.id == pool.id))
    {
        return Err(Failure::new(USAGE, format!("--pool {}: two pools have this name", twice.1.id)));
    }
    let pairs = args.pools.iter().enumerate().flat_map(|(n, pool)| args.pools[..n].iter().map(move |p| (p, pool)));
    if let Some((one, other)) = pairs.into_iter().find(|(one, other)| one.port == other.port && one.port != 0) {
        let why = format!("--pool {} and --pool {}: both have the port {}", one.id, other.id, one.port);
        return Err(Failure::new(USAGE, why));
    }
    let read = |pool: &PoolArg| read_named(pool, args, salt, catalog);
    Ok(PoolFiles { first: read(first)?, further: further.iter().map(read).collect::<Result<_, _>>()? })
}

/// The `name` label of the metrics of the process, or of its only pool.
pub(super) fn metrics_name(args: &ServeArgs) -> String {
    match args.pools.as_slice() {
        [only] => only.id.to_string(),
        _ => kubernetes::name(args),
    }
}

fn read_named(pool: &PoolArg, args: &ServeArgs, salt: PromptSalt, catalog: &Catalog) -> Result<PoolFile, Failure> {
    let of_pool = |failure: Failure| Failure::new(failure.code, format!("pool {}: {}", pool.id, failure.why));
    let source = ConfigArgs { config_file: Some(pool.file.clone()), config_text: None };
    let (config_text, config_name) = config_text(&source).map_err(of_pool)?;
    let by_file = check(Some(&pool.id), (&config_text, &config_name), catalog)?;
    let source = (!by_file).then(|| kubernetes::pool(args, pool.id.as_str()));
    let salt = match salt {
        PromptSalt::Given(_) if !pool.id.is_default() => {
            replication::prompt_salt_of(pool.id.as_str(), args).map_err(|why| Failure::new(USAGE, why))?
        }
        PromptSalt::Given(_) | PromptSalt::Agreed(_) => salt,
    };
    let (id, port, flag) = (pool.id.clone(), pool.port, "--pool");
    Ok(PoolFile { id, config_text, config_name, salt, source, port, flag })
}

/// Where the endpoints of the only pool come from; `None` where its configuration, called `name`, says it.
fn source(by_file: bool, args: &ServeArgs, name: &str) -> Result<Option<Source>, Failure> {
    match (by_file, kubernetes::source(args)) {
        (true, Some(Source::Selector { .. })) => {
            let why = "--endpoint-selector is given, and the configuration names a file of endpoints; leave one out";
            Err(Failure::new(USAGE, format!("{name}: {why}")))
        }
        (true, _) => Ok(None),
        (false, None) => {
            let fix = "name an InferencePool (--pool-name) or pods (--endpoint-selector), or file-discovery under \
                dataLayer.discovery.pluginRef";
            Err(Failure::new(USAGE, format!("{name}: nothing says which endpoints the pool has; {fix}")))
        }
        (false, source) => Ok(source),
    }
}

/// Checks that a configuration is valid. Returns whether it says where endpoints come from.
fn check(pool: Option<&PoolId>, (text, name): (&str, &str), catalog: &Catalog) -> Result<bool, Failure> {
    let blueprint = config::read(text, name, catalog);
    let blueprint = blueprint.map_err(|errors: ConfigErrors| match pool {
        Some(pool) => Failure::config_of(pool, &errors),
        None => Failure::config(&errors),
    })?;
    match pool {
        Some(pool) => tracing::info!(%pool, config = blueprint.effective, "effective configuration"),
        None => tracing::info!(config = blueprint.effective, "effective configuration"),
    }
    Ok(blueprint.discovery.is_some())
}

/// The text of a configuration, and the name under which errors in it are reported.
pub(super) fn config_text(args: &ConfigArgs) -> Result<(String, String), Failure> {
    if let Some(text) = &args.config_text {
        return Ok((text.clone(), "--config-text".to_owned()));
    }
    let Some(path) = &args.config_file else {
        return Ok((config::default_text().to_owned(), "the default configuration".to_owned()));
    };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path);
    text.map(|text| (text, name.clone())).map_err(|why| Failure::new(USAGE, format!("can't read {name}: {why}")))
}

/// A socket on `port`, which `flag` named.
pub(super) async fn bind(args: &ServeArgs, port: u16, flag: &str) -> Result<Listener, Failure> {
    let address = SocketAddr::new(args.bind, port);
    let failure = |why| Failure::new(1, format!("can't listen on {address} ({flag}): {why}; is it taken?"));
    TcpListener::bind(address).await.map(Listener::from).map_err(failure)
}

// === impl PoolFiles ===

impl PoolFiles {
    /// The first pool, and the further ones on their sockets.
    pub(super) async fn opened(self, args: &ServeArgs) -> Result<(PoolFile, Pools), Failure> {
        let mut further = Vec::new();
        for PoolFile { id, config_text, config_name, salt, source, port, flag } in self.further {
            let ext_proc = bind(args, port, flag).await?;
            further.push(PoolSource { id, config_text, config_name, salt, source, ext_proc });
        }
        let first = self.first.id.clone();
        Ok((self.first, Pools { first, further }))
    }
}
