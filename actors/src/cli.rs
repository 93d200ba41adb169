//! The program: runs the subcommand of the command line and reports the result by its exit code.
//!
//! Must not know scheduling. Exit codes: 0 done, 1 failed, 64 the configuration or the command line is wrong.

mod failure;
mod kubernetes;
mod pools;
mod process;
mod replication;
mod sidecar;
mod sidecar_config;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use murmuration::config;
use murmuration::plugin::Catalog;
use murmuration::scheduler::recent::RECENT_MAX;

use crate::admin::printable::printable;
use crate::admin::{DebugAccess, DebugPages, client, explain, tables};
use crate::args::{
    self, AdminArgs, CheckArgs, Command, ExplainArgs, LogFormat, ResponsePath, ServeArgs, TrustedHeaders, Verb,
};
use crate::environment::Environment;
use crate::ext_proc::{self, Limits, TrustedSpelling};
use crate::replica::{Listeners, PromptSalt, Replica, ReplicaSettings, Tls};
use crate::telemetry::span::{TraceSettings, Tracer};
use crate::telemetry::{Telemetry, log};
use failure::{Failure, USAGE};
use pools::{bind, config_text};
use process::{Signals, report_panics, run_until_stopped};

/// Runs the program with these arguments, the program's own name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    run_with(arguments, Catalog::builtin)
}

/// As [`run`], with the plugins of `catalog`: a program with plugins of its own (`examples/plugin`).
pub fn run_with(arguments: impl IntoIterator<Item = OsString>, catalog: fn() -> Catalog) -> ExitCode {
    let command = match parsed(arguments.into_iter().collect()) {
        Ok(command) => command,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(1, format!("no runtime: {error}")).report(),
    };
    let done = runtime.block_on(async {
        match command.verb {
            Verb::Serve(args) => serve(*args, catalog).await,
            Verb::Sidecar(args) => Box::pin(sidecar::run(*args)).await,
            Verb::Check(args) => check(&args, &catalog()),
            Verb::Explain(args) => explain(args).await,
            Verb::Fleet(args) => table(&args, "fleet", tables::fleet).await,
            Verb::Peers(args) => table(&args, "peers", tables::peers).await,
        }
    });
    // Reading standard input (--exit-with-stdin) can't be cancelled: a drained replica would wait for it.
    runtime.shutdown_background();
    done.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

/// The command line; where it is wrong, or asks for help, what the program ends with.
fn parsed(arguments: Vec<OsString>) -> Result<Command, ExitCode> {
    let parse = |arguments: &[OsString]| {
        Command::try_parse_from(arguments).map_err(|error| {
            // clap treats help and version as errors. They print to standard output and are successes here.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
        })
    };
    let command = parse(&arguments)?;
    let Verb::Sidecar(args) = &command.verb else { return Ok(command) };
    let whole = sidecar_config::with_configuration(&arguments, args);
    let whole = whole.map_err(|why| Failure::new(USAGE, why).report())?;
    whole.map_or(Ok(command), |whole| parse(&whole))
}

fn check(args: &CheckArgs, catalog: &Catalog) -> Result<(), Failure> {
    let (text, name) = config_text(&args.config)?;
    let blueprint = config::read(&text, &name, catalog).map_err(|errors| Failure::config(&errors))?;
    print!("{}", blueprint.effective);
    Ok(())
}

async fn explain(args: ExplainArgs) -> Result<(), Failure> {
    let path = match &args.request_id {
        Some(id) => debug_path(args.pool.as_deref(), &format!("decisions/{}", escaped(id))),
        None => debug_path(args.pool.as_deref(), "decisions"),
    };
    let value = page(args.admin, args.debug_token_file.as_deref(), &path).await?;
    let page = if args.request_id.is_some() { explain::page(&value) } else { explain::list(&value) };
    print!("{page}");
    Ok(())
}

/// Prints a replica's debug page as a table.
async fn table(args: &AdminArgs, page_name: &str, print: fn(&serde_json::Value) -> String) -> Result<(), Failure> {
    let path = debug_path(args.pool.as_deref(), page_name);
    print!("{}", print(&page(args.admin, args.debug_token_file.as_deref(), &path).await?));
    Ok(())
}

/// The JSON of a replica's debug page. An error that the replica returns is made harmless for a terminal.
async fn page(admin: SocketAddr, token: Option<&Path>, path: &str) -> Result<serde_json::Value, Failure> {
    let token = token.map(|file| {
        let failure = |why| Failure::new(USAGE, format!("--debug-token-file {}: {why}", file.display()));
        std::fs::read_to_string(file).map(|token| token.trim().to_owned()).map_err(failure)
    });
    let fetched = client::fetch_as(admin, path, token.transpose()?.as_deref()).await;
    let (status, text) = fetched.map_err(|why| Failure::new(1, why))?;
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|why| Failure::new(1, why))?;
    if !status.is_success() {
        let why = value["error"].as_str().unwrap_or(&text);
        return Err(Failure::new(1, format!("{admin}: {}", printable(why))));
    }
    Ok(value)
}

/// The path of a debug page, of the only pool or of the one called `pool`.
fn debug_path(pool: Option<&str>, page: &str) -> String {
    pool.map_or_else(|| format!("/debug/{page}"), |pool| format!("/debug/pools/{}/{page}", escaped(pool)))
}

/// A request id or a pool's name as one segment of a path: every byte that is not unreserved is percent-encoded.
fn escaped(id: &str) -> String {
    let piece = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    id.bytes().map(piece).collect()
}

async fn serve(args: ServeArgs, catalog: fn() -> Catalog) -> Result<(), Failure> {
    let started = log::start(args.log_format == LogFormat::Json, &args.verbosity);
    // Dropped last, so that every line of this function is written before the program ends.
    let _last_lines = started.map_err(|why| Failure::new(USAGE, why))?;
    if args.max_body_memory < args.max_body_size {
        let (memory, size) = (args.max_body_memory, args.max_body_size);
        let why = format!("--max-body-memory ({memory} bytes) must not be less than --max-body-size ({size} bytes)");
        return Err(Failure::new(USAGE, why));
    }
    if !args.passed_over.0.is_empty() {
        tracing::info!(flags = %args.passed_over.0.join(", "), "these flags of llm-d switch nothing here");
    }
    let salt = replication::prompt_salt(&args).map_err(|why| Failure::new(USAGE, why))?;
    let pools = pools::read(&args, salt, &catalog())?;
    let tracer = tracer(&args)?;
    let telemetry = Telemetry::new(&pools::metrics_name(&args), tracer.clone()).map_err(|why| Failure::new(1, why))?;
    let _panic_reporter = report_panics(telemetry.clone());
    let listeners = Listeners {
        ext_proc: bind(&args, pools.first.port, pools.first.flag).await?,
        health: bind(&args, args.grpc_health_port, "--grpc-health-port").await?,
        admin: bind(&args, args.metrics_port, "--metrics-port").await?,
        peers: match args.replication.peer_streams && replication::has_peers(&args) {
            true => Some(bind(&args, args.replication.peer_port, "--peer-port").await?),
            false => None,
        },
    };
    let streams = listeners.peers.as_ref().and_then(|listener| listener.address().ok());
    let ext_proc = listeners.ext_proc.address().map_err(|why| Failure::new(1, why))?;
    let replication = replication::settings(&args, ext_proc, streams).map_err(|why| Failure::new(USAGE, why))?;
    let exit_with_stdin = args.exit_with_stdin;
    let (first, pools) = pools.opened(&args).await?;
    let any = first.source.is_some() || pools.further.iter().any(|pool| pool.source.is_some());
    let kubernetes = kubernetes::settings(&args, first.source, any).await.map_err(|why| Failure::new(USAGE, why))?;
    let settings = settings(args, first.config_text, first.config_name, first.salt);
    let settings = ReplicaSettings { kubernetes, replication, catalog, ..settings };
    let replica = Replica::start_pools(Environment::production(), settings, listeners, telemetry, pools)
        .await
        .map_err(|why| Failure::new(1, why))?;
    let signals = Signals::listen()?;
    let at = replica.addresses();
    tracing::info!(ext_proc = %at.ext_proc, health = %at.health, admin = %at.admin, "started");
    for (pool, ext_proc) in replica.served().into_iter().filter(|(pool, _)| !pool.is_default()) {
        tracing::info!(%pool, %ext_proc, "serves");
    }
    let served = run_until_stopped(signals, replica.failed(), replica.drain(), exit_with_stdin).await;
    // The exporter waits for its collector, which must not hold a thread of the runtime.
    let _ = tokio::task::spawn_blocking(move || tracer.flush()).await;
    served
}

fn tracer(args: &ServeArgs) -> Result<Tracer, Failure> {
    if !args.tracing {
        return Ok(Tracer::default());
    }
    let (endpoint, service_name) = (args.otlp_endpoint.clone(), args.service_name.clone());
    let settings = TraceSettings { endpoint, share: args.trace_share, service_name };
    Tracer::export(&settings).map_err(|why| Failure::new(USAGE, format!("--otlp-endpoint: {why}")))
}

fn settings(args: ServeArgs, config_text: String, config_name: String, salt: PromptSalt) -> ReplicaSettings {
    let limits = Limits {
        streams_max: args.max_streams,
        body_bytes: args.max_body_size as u64,
        decision_timeout: args.decision_timeout,
        body_idle: args.request_idle_timeout,
        arrival_max: args.request_arrival_timeout,
        body_rate_min: args.request_min_rate,
        body_bytes_held: args.max_body_memory,
        arriving_per_connection: args.max_arriving_per_connection.unwrap_or(args.max_streams.div_ceil(2)),
        ..Limits::default()
    };
    let tls = match args.cert_path {
        _ if !args.secure_serving => Tls::Plain,
        Some(folder) => Tls::Folder(folder),
        None => Tls::SelfSigned,
    };
    let debug = DebugAccess {
        pages: match args.debug_pages {
            args::DebugPages::Local => DebugPages::Local,
            args::DebugPages::Anyone => DebugPages::Anyone,
            args::DebugPages::Nobody => DebugPages::Nobody,
        },
        token_file: args.debug_token_file,
    };
    ReplicaSettings {
        config_text,
        config_name,
        catalog: Catalog::builtin,
        interval: args.refresh_metrics_interval.max(std::time::Duration::from_millis(50)),
        gauges_interval: args.refresh_prometheus_metrics_interval,
        limits,
        trusted: match args.trusted_headers {
            TrustedHeaders::Any => TrustedSpelling::Any,
            TrustedHeaders::XGateway => TrustedSpelling::Gateway,
            TrustedHeaders::XLlmD => TrustedSpelling::LlmD,
            TrustedHeaders::None => TrustedSpelling::None,
        },
        response_path: match args.response_path {
            ResponsePath::Stay => ext_proc::ResponsePath::Stay,
            ResponsePath::Leave => ext_proc::ResponsePath::Leave,
        },
        index_bytes_max: args.prefix_index_size,
        recent_max: RECENT_MAX,
        lease: args.ticket_lease,
        tls,
        debug,
        // Without an API server nobody is asked.
        metrics_auth: args.metrics_endpoint_auth.unwrap_or(true),
        drain_timeout: args.drain_timeout,
        salt,
        tenant_header: args.replication.prompt_salt_tenant_header,
        kubernetes: None,
        replication: None,
    }
}
