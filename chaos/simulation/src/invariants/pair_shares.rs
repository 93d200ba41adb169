//! `both_shares_end`.
//!
//! Must not know when the share of the prefill stage ends: not later than its ticket. While nobody's messages can be
//! late, what replicas count on an endpoint is open work of those that live, and had it within two seconds.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use murmuration::event::Event;
use murmuration::fleet::InFlight;
use murmuration::id::{EndpointId, Ticket};
use murmuration::scheduler::EndpointSummary;

use super::{About, Broken, CLEANUP, Invariant, RECOVERY, Scene, broken, names, scheduler_restarted};
use crate::history::{Entry, Fact, Snapshot, Source};
use crate::plan::Fault;

/// How long after messages between replicas were late, or endpoints changed, nothing is judged.
const UNDISTURBED: Duration = Duration::from_secs(4);

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct BothSharesEnd {
    /// The shares of open tickets: the endpoint that decodes, and the one that prefills.
    open: BTreeMap<(usize, Ticket), Vec<EndpointId>>,
    /// Shares that ended within the last two seconds, with their owners.
    ended: VecDeque<(Duration, usize, EndpointId)>,
}

// === impl BothSharesEnd ===

impl Invariant for BothSharesEnd {
    fn about(&self) -> About {
        About::safety(
            "both_shares_end",
            "where engines prefill for others: no replica counts work on an endpoint that no live replica had there within the last 2 s, and 2 s after the last request none counts any, of either stage",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Source::Replica(replica, _) = entry.by else { return Ok(()) };
        if scene.plan().cluster.prefillers == 0 {
            return Ok(());
        }
        match &entry.fact {
            Fact::Emitted(Event::Decided(decided)) => {
                let prefill = decided.split.as_ref().and_then(|split| split.prefill.clone());
                let shares = [Some(decided.endpoint.clone()), prefill].into_iter().flatten().collect();
                self.open.insert((replica, decided.ticket), shares);
            }
            Fact::Emitted(Event::ServedElsewhere { ticket, served: Some(endpoint), .. }) => {
                self.open.entry((replica, *ticket)).or_default().push(endpoint.clone());
            }
            Fact::Emitted(Event::TicketClosed { ticket, .. }) => {
                self.close(|owner, one| (owner, one) == (replica, *ticket), entry.at)
            }
            // Peers count what a dead replica had for two more seconds.
            fact if *fact == Fact::Stopped || scheduler_restarted(fact) => {
                self.close(|owner, _| owner == replica, entry.at);
            }
            Fact::SnapshotTaken(snapshot) => {
                while self.ended.front().is_some_and(|(at, ..)| *at + CLEANUP < entry.at) {
                    self.ended.pop_front();
                }
                return self.judge(replica, snapshot, scene);
            }
            _ => {}
        }
        Ok(())
    }
}

impl BothSharesEnd {
    fn close(&mut self, which: impl Fn(usize, Ticket) -> bool, at: Duration) {
        let over: Vec<(usize, Ticket)> = self.open.keys().copied().filter(|(owner, one)| which(*owner, *one)).collect();
        for ticket in over {
            let shares = self.open.remove(&ticket).unwrap_or_default();
            self.ended.extend(shares.into_iter().map(|endpoint| (at, ticket.0, endpoint)));
        }
    }

    fn judge(&self, replica: usize, snapshot: &Snapshot, scene: &Scene) -> Result<(), Broken> {
        let rests = scene.rests(RECOVERY);
        for endpoint in &snapshot.fleet.endpoints {
            let EndpointSummary { in_flight, foreign, .. } = endpoint;
            let id = &endpoint.endpoint.id;
            if rests && (*in_flight, *foreign) != (InFlight::default(), InFlight::default()) {
                return broken!(
                    "replica-{replica} counts work on {id} after the last request: {in_flight:?}, {foreign:?} of peers"
                );
            }
            if !disturbed(replica, scene) {
                self.is_someones(replica, id, *foreign)?;
            }
        }
        Ok(())
    }

    /// Whether what is counted on an endpoint is, or was just now, the open work of other replicas.
    fn is_someones(&self, replica: usize, on: &EndpointId, foreign: InFlight) -> Result<(), Broken> {
        let same = |other: &EndpointId| names::engine(other) == names::engine(on);
        let open = self.open.iter().filter(|((owner, _), _)| *owner != replica).flat_map(|(_, shares)| shares);
        let ended = self.ended.iter().filter(|(_, owner, _)| *owner != replica).map(|(.., endpoint)| endpoint);
        let most = open.chain(ended).filter(|endpoint| same(endpoint)).count();
        let InFlight { requests, prefills, prefill_tokens, decode_tokens, incoming_tokens } = foreign;
        let tokens = prefill_tokens + decode_tokens + incoming_tokens;
        if requests.max(prefills) as usize > most || most == 0 && tokens > 0 {
            return broken!(
                "replica-{replica} counts {requests} requests, {prefills} prompts and {tokens} tokens of peers on {on}, where live ones had {most} requests within {CLEANUP:?}"
            );
        }
        Ok(())
    }
}

/// Whether messages may have been late or lost, this replica was away, another one frozen, or endpoints changed.
fn disturbed(replica: usize, scene: &Scene) -> bool {
    let odd = |fault: &Fault| matches!(fault, Fault::Freeze { .. } | Fault::Clock { .. }) || fault.changes_endpoints();
    !scene.awake_for(replica, UNDISTURBED) || scene.peer_links_faulty(UNDISTURBED) || scene.feels(UNDISTURBED, odd)
}

#[cfg(test)]
mod tests {
    use murmuration::event::Split;
    use murmuration::id::PluginName;

    use super::*;
    use crate::history::Phase;
    use crate::invariants::testing::{HistoryBuilder, closed, decided, engine, open};

    /// Replica 0 chose a pair of engines 0 and 2, at 8 s.
    fn paired() -> HistoryBuilder {
        let mut history = HistoryBuilder::calm();
        history.plan.cluster.prefillers = 2;
        let Event::Decided(mut decided) = decided(1, 2) else { return history };
        let kind = "pair-profile-handler";
        let handler = PluginName { name: kind.to_owned(), kind };
        decided.split = Some(Split { handler, decision: "prefill-decode", prefill: Some(engine(0)) });
        history.at(8_000).told(0, Event::Decided(decided));
        history
    }

    /// Replica 1 counts one request on each of these engines.
    fn counts(history: &mut HistoryBuilder, at: u64, engines: &[usize]) {
        history.at(at).sees(1, |snapshot| {
            engines.iter().for_each(|engine| snapshot.fleet.endpoints[*engine].foreign = open(1));
        });
    }

    #[test]
    fn a_pair_counts_on_both_endpoints_and_on_no_other() {
        let mut history = paired();
        counts(&mut history, 8_100, &[0, 2]);
        assert_eq!(history.check(BothSharesEnd::default()), Ok(()));
        counts(&mut history, 8_100, &[1]);
        history.breaks(BothSharesEnd::default(), "1 requests, 0 prompts and 0 tokens of peers on town/engine-1");
    }

    #[test]
    fn both_shares_end_two_seconds_after_the_replica_that_chose_them() {
        for (at, right) in [(11_000, true), (11_001, false)] {
            let mut history = paired();
            history.at(9_000).by(0, Fact::Stopped);
            counts(&mut history, at, &[0]);
            assert_eq!(history.check(BothSharesEnd::default()).is_ok(), right, "{at}");
        }
    }

    #[test]
    fn both_shares_end_with_their_ticket() {
        for (at, right) in [(11_000, true), (11_001, false)] {
            let mut history = paired();
            history.at(9_000).told(0, closed(1));
            counts(&mut history, at, &[0]);
            assert_eq!(history.check(BothSharesEnd::default()).is_ok(), right, "{at}");
        }
    }

    #[test]
    fn after_the_last_request_nothing_is_counted() {
        let mut history = paired();
        history.phase(10_000, Phase::Quiesced).at(12_000).sees(0, |snapshot| {
            snapshot.fleet.endpoints[0].in_flight = open(1);
        });
        history.breaks(BothSharesEnd::default(), "counts work on town/engine-0 after the last request");
    }
}
