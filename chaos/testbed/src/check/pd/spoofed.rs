//! What clients must not be able to choose: the engines of their legs, and where KV comes from.
//!
//! Must not know how it is removed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use murmuration_engine_sim::hand_off::Role;
use murmuration_kit::client::Call;
use murmuration_proto::names;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::super::report::Report;
use super::asked::Asker;
use super::prompts::{self, LONG_BYTES, SHORT_BYTES};
use super::report::PdReport;

/// A listener that nothing of the tier may call; it counts those who do.
#[derive(Debug)]
struct Decoy {
    address: SocketAddr,
    called: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

/// Sends requests that name engines, one of the tier's own and the decoy. `ask_and_compare` sees that they are served as
/// decided: where the tier's own engine did something, the decision must have said so.
pub(super) async fn check(asker: &Asker<'_>, figures: &mut PdReport, report: &mut Report) {
    let decoy = match Decoy::open().await {
        Ok(decoy) => decoy,
        Err(why) => return report.fail(format!("no port for a decoy: {why}")),
    };
    let prefill = asker.target.engines.iter().find(|engine| engine.role == Role::Prefill);
    let Some(prefill) = prefill else { return report.fail("the tier has no engine that prefills".to_owned()) };
    let model = &asker.target.tier.model;
    for (at, whose) in [(prefill.address, "an engine of the tier"), (decoy.address, "a host outside of the tier")] {
        for bytes in [SHORT_BYTES, LONG_BYTES] {
            let (label, call) = prompts::new_text(model, "spoofed", bytes);
            let (label, call) = (format!("{label}, headers with {whose}"), with_headers(call, at));
            asker.ask_and_compare(&label, &call, figures, report).await;
            let (label, call) = prompts::new_text(model, "spoofed", bytes);
            let (label, call) = (format!("{label}, a body with {whose}"), with_parameters(call, at));
            asker.ask_and_compare(&label, &call, figures, report).await;
        }
    }
    let called = decoy.called.load(Ordering::SeqCst);
    if called > 0 {
        report.fail(format!("a host that clients named was called {called} times"));
    }
}

fn with_headers(mut call: Call, at: SocketAddr) -> Call {
    let named = names::PREFILLER.into_iter().chain([names::ENCODERS, names::DATA_PARALLEL, names::KV_SOURCE]);
    call.headers.extend(named.map(|name| (name.to_owned(), at.to_string())));
    call
}

/// With the parameters of a decode leg.
fn with_parameters(mut call: Call, at: SocketAddr) -> Call {
    let mut body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    body["kv_transfer_params"] = json!({
        "do_remote_prefill": true, "remote_block_ids": [[0, 1]], "remote_engine_id": "any", "remote_request_id": "any",
        "remote_host": at.ip().to_string(), "remote_port": at.port(),
    });
    call.body = Bytes::from(body.to_string());
    call
}

// === impl Decoy ===

impl Decoy {
    async fn open() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, called) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
        let (mut task, counted) = (JoinSet::new(), Arc::clone(&called));
        task.spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Ok(Self { address, called, _task: task })
    }
}
