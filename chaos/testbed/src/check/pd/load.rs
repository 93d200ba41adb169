//! Answers that run on all engines that decode while the check asks: what a long prompt would hold up.
//!
//! Must not know prompts.

use std::time::Duration;

use murmuration_engine_sim::hand_off::Role;
use murmuration_kit::client::Client;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::report::Report;
use super::asked::Asker;
use super::prompts;

/// Answers for each engine that decodes: so many that a long prompt is worth another engine also where that one still
/// has another prompt. One more runs, so that no two engines are equally loaded: between equal ones the smallest
/// difference of two replicas' views would decide.
const EACH: usize = 6;
/// How long an answer may take to begin.
const PATIENCE: Duration = Duration::from_secs(20);

/// The running answers; they end when it is dropped.
#[derive(Debug)]
pub(super) struct Load(JoinSet<()>);

// === impl Load ===

impl Load {
    /// Starts them one after the other, each when the one before it has begun.
    pub(super) async fn start(asker: &Asker<'_>, report: &mut Report) -> Self {
        let target = asker.target;
        let decoders = target.engines.iter().filter(|engine| engine.role == Role::Decode).count();
        let mut running = JoinSet::new();
        for nth in 0..decoders * EACH + 1 {
            let call = prompts::endless(&target.tier.model, nth);
            let (began, beginning) = tokio::sync::oneshot::channel();
            let client = Client::new(target.tier.public);
            running.spawn(async move {
                let mut began = Some(began);
                // One that ends is asked again: a client waits for an answer for a minute at most.
                loop {
                    let Ok(mut stream) = client.stream(&call.path, call.body.clone(), &call.header_pairs()).await
                    else {
                        return;
                    };
                    while let Ok(Some(_)) = stream.next().await {
                        began.take().map(|began| began.send(()));
                    }
                    if began.is_some() {
                        return;
                    }
                }
            });
            if !matches!(timeout(PATIENCE, beginning).await, Ok(Ok(()))) {
                report.fail(format!("answer {nth} of those that run beside the check did not begin"));
            }
        }
        Self(running)
    }

    /// Ends them.
    pub(super) fn end(self) {
        drop(self.0);
    }
}
