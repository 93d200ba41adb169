//! The command line of one engine.
//!
//! Must not know how an engine works: it turns arguments into an [`EngineConfig`], serves, and waits for the end.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::hand_off::{HandOff, OnLoadFailure, Role};
use crate::http::{EngineServer, serve, serve_in_tier};
use crate::{EngineConfig, Machine};

/// Arguments of an emulated engine. Missing ones have the values of [`EngineConfig::default`].
#[derive(Args, Clone, Debug, PartialEq)]
pub struct EngineArgs {
    /// The address to listen on, for engines that have a network of their own.
    #[arg(long, hide = true, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub bind: IpAddr,
    /// The port; 0 takes any that is free.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Its name, sent in the header x-inference-pod of every response.
    #[arg(long, default_value = "engine-0")]
    pub name: String,
    /// The model it serves.
    #[arg(long, default_value = "tiny")]
    pub model: String,
    /// A LoRA adapter that is loaded; may be repeated.
    #[arg(long = "adapter", value_name = "NAME")]
    pub adapters: Vec<String>,
    /// The machine whose speeds and sizes it has, where no other argument says them.
    #[arg(long, value_enum, value_name = "MACHINE")]
    pub machine: Option<Machine>,
    /// Requests in the batch at once.
    #[arg(long, value_name = "N", value_parser = above_zero)]
    pub max_num_seqs: Option<usize>,
    /// The most tokens of one step, prompts and answers together.
    #[arg(long, value_name = "N", value_parser = above_zero)]
    pub max_num_batched_tokens: Option<usize>,
    /// The most tokens of prompt and answer together.
    #[arg(long, value_name = "N", value_parser = above_zero)]
    pub max_model_len: Option<usize>,
    /// LoRA adapters that may run at once.
    #[arg(long, value_name = "N", value_parser = above_zero)]
    pub max_loras: Option<usize>,
    /// Requests in the queue at once; more are answered with 503. Without this option the queue has no bound.
    #[arg(long, value_name = "N")]
    pub max_num_queued: Option<usize>,
    /// KV blocks.
    #[arg(long, alias = "num-gpu-blocks-override", value_name = "N", value_parser = above_zero)]
    pub blocks: Option<usize>,
    /// Tokens of a KV block.
    #[arg(long, alias = "block-size", value_name = "N", value_parser = above_zero)]
    pub block_tokens: Option<usize>,
    /// Prompt tokens computed in a second.
    #[arg(long, value_name = "TOKENS", value_parser = positive)]
    pub prefill_tokens_per_s: Option<f64>,
    /// Microseconds of a step that computes nothing.
    #[arg(long, value_name = "MICROSECONDS")]
    pub step_base_us: Option<u64>,
    /// Makes the engine this many times faster than the other arguments say.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = positive)]
    pub speed: f64,
    /// What it is for, beside engines with other roles. Without it, it has no connector: nothing is handed over.
    #[arg(long, value_enum, value_name = "ROLE")]
    pub role: Option<Role>,
    /// The port at which engines that decode read its KV; 0 takes any that is free.
    #[arg(long, default_value_t = 0, value_name = "PORT", requires = "role")]
    pub side_channel_port: u16,
    /// Seconds for which it keeps KV that nobody takes.
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS", value_parser = positive, requires = "role")]
    pub kv_lease_duration: f64,
    /// Gigabytes a second at which KV arrives.
    #[arg(long, default_value_t = 10.0, value_name = "GB/S", value_parser = positive, requires = "role")]
    pub link: f64,
    /// Bytes of KV of one token.
    #[arg(long, default_value_t = 131_072.0, value_name = "BYTES", value_parser = positive, requires = "role")]
    pub kv_bytes_per_token: f64,
    /// What becomes of a request whose KV could not be loaded.
    #[arg(long, value_enum, default_value = "fail", value_name = "WHAT", requires = "role")]
    pub kv_load_failure_policy: OnLoadFailure,
    /// The folder in which encode engines leave embeddings for all others.
    #[arg(long, value_name = "DIR", requires = "role")]
    pub shared_embeddings: Option<PathBuf>,
    /// Stop when standard input closes, so that an engine does not outlive the process that started it.
    #[arg(long, hide = true)]
    pub exit_with_stdin: bool,
}

/// Serves an engine until SIGTERM, SIGINT or, with `--exit-with-stdin`, the end of standard input. Prints one line when
/// it is ready.
pub fn run(args: EngineArgs) -> ExitCode {
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|why| format!("the engine's runtime does not start: {why}"))
        .and_then(|runtime| {
            let outcome = runtime.block_on(serve_until_stopped(args));
            // A read of standard input cannot be cancelled, so the shutdown does not wait for it.
            runtime.shutdown_background();
            outcome
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "engine: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn serve_until_stopped(args: EngineArgs) -> Result<(), String> {
    let (bind, port, side_port, with_stdin) = (args.bind, args.port, args.side_channel_port, args.exit_with_stdin);
    let (hand_off, config) = (args.hand_off(), args.into_config());
    // Signals are handled before the ready line is printed, because its reader may send one at once.
    let signal_error = |why: std::io::Error| format!("cannot listen for signals: {why}");
    let mut terminate = signal(SignalKind::terminate()).map_err(signal_error)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signal_error)?;
    let listener = listen(bind, port, "--port").await?;
    let (name, model) = (config.name.clone(), config.model.clone());
    let server = match hand_off {
        Some(hand_off) => {
            serve_in_tier(listener, config, hand_off, listen(bind, side_port, "--side-channel-port").await?)
        }
        None => serve(listener, config),
    };
    let mut server = server.map_err(|why| why.to_string())?;
    print_ready(&name, &model, &server).map_err(|why| format!("cannot write to standard output: {why}"))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = end_of_stdin(), if with_stdin => {}
        () = server.ended() => {
            return Err("EngineCore encountered an issue: it was told to load blocks without names".to_owned());
        }
    }
    server.stop().await;
    Ok(())
}

async fn listen(bind: IpAddr, port: u16, flag: &str) -> Result<TcpListener, String> {
    let bound = TcpListener::bind((bind, port)).await;
    bound.map_err(|why| format!("cannot listen on {bind}:{port}: {why}; give another {flag}, or 0 for any"))
}

fn print_ready(name: &str, model: &str, server: &EngineServer) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "engine {name} serves {model} on {}", server.address())?;
    out.flush()
}

/// Waits for the end of standard input; its content is ignored.
async fn end_of_stdin() {
    let (mut stdin, mut bytes) = (tokio::io::stdin(), [0u8; 256]);
    while !matches!(stdin.read(&mut bytes).await, Ok(0) | Err(_)) {}
}

fn above_zero(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be above zero".to_owned()),
        Ok(number) => Ok(number),
        Err(why) => Err(format!("{why}")),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        Ok(_) => Err("must be a number above zero".to_owned()),
        Err(why) => Err(format!("{why}")),
    }
}

// === impl EngineArgs ===

impl EngineArgs {
    /// Its part in hand-offs; `None` without a role.
    pub fn hand_off(&self) -> Option<HandOff> {
        let faster = |span: Duration| span.div_f64(self.speed);
        let of = HandOff::of(self.role?);
        Some(HandOff {
            lease: Duration::from_secs_f64(self.kv_lease_duration.min(1e6)),
            link_bytes_per_s: self.link * 1e9 * self.speed,
            kv_bytes_per_token: self.kv_bytes_per_token,
            on_load_failure: self.kv_load_failure_policy,
            embeddings: self.shared_embeddings.clone(),
            encoding: faster(of.encoding),
            ..of
        })
    }

    /// The engine that these arguments describe.
    pub fn into_config(self) -> EngineConfig {
        let defaults = self.machine.map_or_else(EngineConfig::default, Machine::config);
        let faster = |span: Duration| span.div_f64(self.speed);
        EngineConfig {
            name: self.name,
            model: self.model,
            adapters: self.adapters,
            max_num_seqs: self.max_num_seqs.unwrap_or(defaults.max_num_seqs),
            max_num_queued: self.max_num_queued.or(defaults.max_num_queued),
            blocks: self.blocks.unwrap_or(defaults.blocks),
            max_num_batched_tokens: self.max_num_batched_tokens.unwrap_or(defaults.max_num_batched_tokens),
            max_model_len: self.max_model_len.unwrap_or(defaults.max_model_len),
            max_loras: self.max_loras.unwrap_or(defaults.max_loras),
            block_tokens: self.block_tokens.unwrap_or(defaults.block_tokens),
            prefill_tokens_per_s: self.prefill_tokens_per_s.unwrap_or(defaults.prefill_tokens_per_s) * self.speed,
            step_base: faster(self.step_base_us.map_or(defaults.step_base, Duration::from_micros)),
            step_per_seq: faster(defaults.step_per_seq),
            attention_ns: defaults.attention_ns / self.speed,
            context_ns: defaults.context_ns / self.speed,
            ..defaults
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        engine: EngineArgs,
    }

    fn parse(line: &str) -> Result<EngineArgs, clap::Error> {
        Line::try_parse_from(line.split(' ')).map(|line| line.engine)
    }

    #[test]
    fn an_engine_without_arguments_has_the_default_configuration() {
        assert_eq!(parse("engine").unwrap().into_config(), EngineConfig::default());
    }

    #[test]
    fn speed_shortens_everything_that_takes_time() {
        let line = "engine --adapter a --adapter b --step-base-us 1000 --prefill-tokens-per-s 500 --speed 10";
        let config = parse(line).unwrap().into_config();
        assert_eq!((config.step_base, config.step_per_seq), (Duration::from_micros(100), Duration::from_micros(10)));
        assert_eq!((config.prefill_tokens_per_s, config.adapters.len()), (5000.0, 2));
    }

    #[test]
    fn a_machine_has_its_own_speeds_and_other_arguments_change_them() {
        let config = |line: &str| parse(line).unwrap().into_config();
        let machine = Machine::Llama8bH100.config();
        let plain = config("engine --machine llama8b-h100");
        assert_eq!((plain.blocks, plain.context_ns), (machine.blocks, machine.context_ns));
        let changed = config("engine --machine llama8b-h100 --block-size 32 --max-num-batched-tokens 512 --speed 2");
        assert_eq!((changed.block_tokens, changed.max_num_batched_tokens), (32, 512));
        assert_eq!((changed.blocks, changed.context_ns), (machine.blocks, machine.context_ns / 2.0));
    }

    #[test]
    fn bounds_that_stop_an_engine_for_ever_are_refused() {
        for bad in ["--blocks 0", "--block-tokens 0", "--max-num-seqs 0", "--speed 0", "--prefill-tokens-per-s nan"] {
            assert!(parse(&format!("engine {bad}")).is_err(), "{bad}");
        }
    }
}
