//! `murmuration sidecar`: turns its flags into settings, opens its sockets and runs it until a signal.
//!
//! Must not know what a setting does.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use murmuration::dialect::kubernetes::pool_ref::PoolRef;
use tokio::net::TcpListener;

use super::failure::{Failure, USAGE};
use super::kubernetes;
use super::process::{Signals, report_panics, run_until_stopped};
use crate::args::{EcConnectorArg, KvConnectorArg, LogFormat, OnPrefillFailureArg, SidecarArgs, StageArg};
use crate::environment::{Environment, Listener};
use crate::kubernetes::{ApiServer, PoolName};
use crate::replica::Tls;
use crate::sidecar::{
    AllowedTargets, Deadlines, EcConnector, KvConnector, LegTls, OnPrefillFailure, PoolTargets, Sidecar, SidecarError,
    SidecarLimits, SidecarListeners, SidecarSettings, Target,
};
use crate::telemetry::span::Tracer;
use crate::telemetry::{Telemetry, log};

/// The decode engine runs beside the sidecar.
const DECODER_HOST: &str = "127.0.0.1";
/// The longest hand-off: half of vLLM's lease on the blocks of a prefill.
const HANDOFF_MAX: Duration = Duration::from_secs(15);
/// Bytes of the answer of a prefill or encode leg.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Where systems keep the certificates of authorities: Debian, Red Hat, Alpine.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

pub(super) async fn run(args: SidecarArgs) -> Result<(), Failure> {
    let started = log::start(args.log_format == LogFormat::Json, &args.verbosity);
    let _last_lines = started.map_err(|why| Failure::new(USAGE, why))?;
    let settings = settings(&args).await.map_err(|why| Failure::new(USAGE, why))?;
    let telemetry = Telemetry::new("sidecar", Tracer::default()).map_err(|why| Failure::new(1, why))?;
    let _panic_reporter = report_panics(telemetry.clone());
    let mut ranks = Vec::new();
    for rank in 0..args.data_parallel_size {
        // Port 0 has the system choose.
        let port = if args.port == 0 { 0 } else { args.port.saturating_add(rank) };
        ranks.push(bind(&args, port, "--port").await?);
    }
    let metrics = match args.metrics_port {
        0 => None,
        port => Some(bind(&args, port, "--metrics-port").await?),
    };
    let listeners = SidecarListeners { ranks, metrics };
    let sidecar = Sidecar::start(Environment::production(), settings, listeners, telemetry).map_err(|error| {
        let code = if matches!(error, SidecarError::Socket(_)) { 1 } else { USAGE };
        Failure::new(code, error)
    })?;
    let signals = Signals::listen()?;
    for (rank, at) in sidecar.ranks().iter().enumerate() {
        tracing::info!(rank, %at, "serves");
    }
    tracing::info!(connector = ?args.kv_connector, "started");
    let (failed, exit_with_stdin) = (sidecar.failed(), args.exit_with_stdin);
    run_until_stopped(signals, failed, sidecar.drain(), exit_with_stdin).await
}

async fn bind(args: &SidecarArgs, port: u16, flag: &str) -> Result<Listener, Failure> {
    let address = SocketAddr::new(args.bind, port);
    let failure = |why| Failure::new(1, format!("can't listen on {address} ({flag}): {why}; is it taken?"));
    TcpListener::bind(address).await.map(Listener::from).map_err(failure)
}

async fn settings(args: &SidecarArgs) -> Result<SidecarSettings, String> {
    check(args)?;
    let tls = match &args.cert_path {
        _ if !args.secure_serving => Tls::Plain,
        Some(folder) => Tls::Folder(folder.clone()),
        None => Tls::SelfSigned,
    };
    let legs = [StageArg::Prefiller, StageArg::Decoder, StageArg::Encoder].map(|stage| leg(args, stage));
    Ok(SidecarSettings {
        kv_connector: match args.kv_connector {
            KvConnectorArg::NixlV2 => KvConnector::NixlV2,
            KvConnectorArg::SharedStorage => KvConnector::SharedStorage,
            KvConnectorArg::Sglang => KvConnector::Sglang,
            KvConnectorArg::Mooncake => KvConnector::Mooncake,
            KvConnectorArg::Offloading => KvConnector::Offloading,
        },
        ec_connector: args.ec_connector.map(|connector| match connector {
            EcConnectorArg::EcExample => EcConnector::Example,
            EcConnectorArg::EcNixl => EcConnector::Nixl,
        }),
        decoder: Target { host: DECODER_HOST.to_owned(), port: args.model_server_port },
        ranks: args.data_parallel_size,
        port: args.port,
        pod_ip: args.pod_ip.clone().filter(|ip| !ip.is_empty()),
        allowed: allowed(args)?,
        allowed_pool: pool(args).await?,
        allowed_file: args.allowed_targets_file.clone().filter(|_| args.enable_ssrf_protection),
        sampling: args.enable_prefiller_sampling,
        retries: args.prefill_max_retries,
        backoff: args.prefill_retry_backoff,
        on_prefill_failure: match args.on_prefill_failure {
            OnPrefillFailureArg::Error => OnPrefillFailure::Error,
            OnPrefillFailureArg::Decode => OnPrefillFailure::Decode,
        },
        deadlines: Deadlines {
            connect: args.connect_timeout,
            prefill: args.prefill_timeout,
            encode: args.encode_timeout,
            decode: args.decode_timeout,
            handoff: args.handoff_timeout,
            arrival: args.request_idle_timeout,
            arrived: args.request_arrival_timeout,
            unread: args.answer_unread_timeout,
        },
        limits: SidecarLimits {
            body_bytes: args.max_body_size,
            body_memory: args.max_body_memory,
            answer_bytes: ANSWER_BYTES_MAX,
            connections: args.max_connections,
            idle_per_host: args.max_idle_conns_per_host,
        },
        mooncake_port: args.mooncake_bootstrap_port,
        sglang_port: args.sglang_bootstrap_port,
        p2p_port: args.p2p_connector_port,
        p2p_pull: args.enable_p2p_pull,
        tls,
        authorities: if legs.contains(&LegTls::Verified) {
            authorities(args.engine_ca_file.as_deref())?
        } else {
            Vec::new()
        },
        legs,
        drain_timeout: args.drain_timeout,
    })
}

/// What one flag can't check alone.
fn check(args: &SidecarArgs) -> Result<(), String> {
    let ranks = args.data_parallel_size - 1;
    for (flag, port) in [("--port", args.port), ("--model-server-port", args.model_server_port)] {
        if port.checked_add(ranks).is_none() {
            return Err(format!("{flag} {port}: {} ranks need ports up to 65535", args.data_parallel_size));
        }
    }
    if args.port != 0 && args.port.abs_diff(args.model_server_port) <= ranks {
        return Err("--port and --model-server-port: the ports of sidecar and decode engine overlap".to_owned());
    }
    if args.handoff_timeout > HANDOFF_MAX {
        let why = format!("a prefill engine may free its blocks after 30s; write at most {}s", HANDOFF_MAX.as_secs());
        return Err(format!("--handoff-timeout: {why}"));
    }
    if args.decode_chunk_size != 0 {
        return Err("--decode-chunk-size: chunked decode is not here yet; leave the flag out".to_owned());
    }
    if args.enable_p2p_pull && !matches!(args.kv_connector, KvConnectorArg::NixlV2 | KvConnectorArg::Offloading) {
        return Err("--enable-p2p-pull: only engines of nixlv2 and offloading pull prefixes".to_owned());
    }
    if args.max_body_memory < args.max_body_size {
        return Err("--max-body-memory must not be less than --max-body-size".to_owned());
    }
    Ok(())
}

fn allowed(args: &SidecarArgs) -> Result<AllowedTargets, String> {
    if !args.enable_ssrf_protection {
        return Ok(AllowedTargets::Any);
    }
    if args.allowed_targets.is_empty() && args.allowed_targets_file.is_none() && pool_name(args)?.is_none() {
        let why = "no target is allowed, so no request could be split: name the prefill engines by --allowed-targets, as \
                   in 10.0.0.0/16:8000, or their pool by --inference-pool, or allow all by \
                   --enable-ssrf-protection=false, which is llm-d's default";
        return Err(why.to_owned());
    }
    AllowedTargets::read(&args.allowed_targets.join(",")).map_err(|why| format!("--allowed-targets: {why}"))
}

/// The pool whose endpoints are allowed; `None` where none is named, or all targets are allowed.
async fn pool(args: &SidecarArgs) -> Result<Option<PoolTargets>, String> {
    let Some(pool) = pool_name(args)?.filter(|_| args.enable_ssrf_protection) else { return Ok(None) };
    let found = ApiServer::find(&kubernetes::files(args.kubeconfig.as_deref())).await;
    let api = found.map_err(|why| format!("--inference-pool is looked for in the Kubernetes API, and {why}"))?;
    let me = args.pod_ip.clone().unwrap_or_default();
    Ok(Some(PoolTargets { api, pool, me }))
}

fn pool_name(args: &SidecarArgs) -> Result<Option<PoolName>, String> {
    let Some(named) = args.inference_pool.as_deref().filter(|named| !named.is_empty()) else { return Ok(None) };
    let (namespace, name) = match named.split_once('/') {
        Some((namespace, name)) => (namespace.to_owned(), name),
        None => (kubernetes::own_namespace(None), named),
    };
    if namespace.is_empty() || name.is_empty() || name.contains('/') {
        return Err(format!("--inference-pool: {named:?} is no pool; write its namespace and name, as in prod/llama"));
    }
    Ok(Some(PoolName { namespace, pool: PoolRef { group: args.pool_group.clone(), name: name.to_owned() } }))
}

fn leg(args: &SidecarArgs, stage: StageArg) -> LegTls {
    match (args.enable_tls.contains(&stage), args.tls_insecure_skip_verify.contains(&stage)) {
        (false, _) => LegTls::Off,
        (true, false) => LegTls::Verified,
        (true, true) => LegTls::Unverified,
    }
}

fn authorities(file: Option<&Path>) -> Result<Vec<u8>, String> {
    if let Some(file) = file {
        return std::fs::read(file).map_err(|why| format!("--engine-ca-file {}: {why}", file.display()));
    }
    Ok(AUTHORITIES.iter().find_map(|file| std::fs::read(file).ok()).unwrap_or_default())
}
