//! The request's half of a stream: collects the request, reads it, asks the scheduler and sends it on.
//!
//! Must not know the answer's half, except that a proxy may answer by itself before the request is whole.

use murmuration::request::{Refusal, RefusalCode};
use murmuration::schedule::{Decision, Stage};
use murmuration::time::Timestamp;
use murmuration_proto::ext_proc::{HttpBody, HttpHeaders, Metadata, ProtocolConfiguration};
use murmuration_proto::names;

use super::phase::{End, Phase, unserved};
use super::unread::{Read, Unread};
use super::{Exchange, Fault, Outbox, Step};
use crate::ext_proc::body::Gathered;
use crate::ext_proc::headers::Head;
use crate::ext_proc::reply::{self, RequestAnswer};
use crate::ext_proc::settings::ResponsePath;
use crate::ext_proc::{metadata as envoy_metadata, telemetry_sink};

// === impl Exchange ===

impl Exchange {
    /// The scheduler decided: sends the request on to the decision's endpoints, with `trace` among its headers. For a
    /// request that the scheduler refused, call [`Exchange::refuse`].
    pub fn decided(&mut self, decision: &Decision, trace: telemetry_sink::Headers, now: Timestamp, out: &mut Outbox) {
        let destination = envoy_metadata::destination(decision.destinations());
        if destination.is_empty() {
            return self.refuse(Refusal::new(RefusalCode::NoEndpoints, "no endpoint can take the request"), out);
        }
        let Phase::Deciding { body, ended_by } = std::mem::replace(&mut self.phase, Phase::Over) else {
            return;
        };
        self.record.decided(decision, now);
        self.added.clone_from(&decision.response_headers);
        if self.settings.sessions.token_header.is_some() {
            let targets = decision.legs.iter().take(1).flat_map(|leg| &leg.targets);
            self.targets = targets.map(|target| (target.address, target.endpoint.clone())).collect();
        }
        if decision.primary_port.is_some() {
            let own = decision.legs.iter().take(1).flat_map(|leg| leg.addresses());
            self.ranks = decision.destinations().zip(own).collect();
        }
        let mut remove = self.head.control_headers();
        remove.extend(self.settings.profile_header.clone().filter(|name| self.head.get(name).is_some()));
        let answer = RequestAnswer {
            destination,
            content_length: (!body.is_empty()).then_some(body.len()),
            request_id: self.generated_id.then(|| self.record.request_id().to_owned()),
            trace,
            added: decision.request_headers.clone(),
            stages: stage_headers(decision),
            remove,
        };
        out.push_back(answer.into_response());
        send_on(body, ended_by, out);
        self.phase = match self.settings.response_path {
            ResponsePath::Stay => Phase::Answered,
            ResponsePath::Leave => Phase::Left,
        };
    }

    pub(super) fn request_headers(
        &mut self,
        headers: HttpHeaders,
        metadata: Option<&Metadata>,
        protocol: Option<ProtocolConfiguration>,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<Step, Fault> {
        if !self.phase.is_opening() {
            return Err(self.phase.misplaced("request headers"));
        }
        let whole = headers.end_of_stream;
        if let Some(protocol) = protocol {
            check_modes(&protocol, whole)?;
        }
        self.hint(metadata);
        self.head = Head::new(headers);
        self.generated_id = self.record.began(self.head.first_of(&[names::REQUEST_ID]), now);
        if whole {
            return Ok(self.ask(Gathered::default(), End::Headers, out));
        }
        self.phase = Phase::Gathering { body: Gathered::default() };
        Ok(Step::More)
    }

    pub(super) fn request_body(
        &mut self,
        chunk: HttpBody,
        metadata: Option<&Metadata>,
        out: &mut Outbox,
    ) -> Result<Step, Fault> {
        let limit = self.settings.limits.body_bytes;
        let taken = match &mut self.phase {
            Phase::Opening => return Err(self.phase.misplaced("request body")),
            Phase::Gathering { body } => body.push(chunk.body, limit),
            // Envoy may send more chunks after it reported the body's end.
            _ => return Ok(if self.is_over() { Step::Over } else { Step::More }),
        };
        self.hint(metadata);
        if taken.is_err() {
            let sentence = format!("the body is larger than {limit} bytes, the limit of this gateway");
            self.refuse(Refusal::new(RefusalCode::BodyTooLarge, sentence), out);
            return Ok(Step::Over);
        }
        if !chunk.end_of_stream {
            return Ok(Step::More);
        }
        Ok(self.ask_gathered(End::Body, out))
    }

    pub(super) fn request_trailers(&mut self, metadata: Option<&Metadata>, out: &mut Outbox) -> Result<Step, Fault> {
        match self.phase {
            Phase::Gathering { .. } => {}
            // The proxy answered by itself; what is left of the request no longer matters.
            Phase::Responding => return Ok(Step::More),
            _ => return Err(self.phase.misplaced("request trailers")),
        }
        self.hint(metadata);
        Ok(self.ask_gathered(End::Trailers, out))
    }

    /// The hint may come with any message of the request; the latest one counts.
    fn hint(&mut self, metadata: Option<&Metadata>) {
        if let Some(subset) = metadata.and_then(envoy_metadata::subset) {
            self.subset = Some(subset);
        }
    }

    fn ask_gathered(&mut self, ended_by: End, out: &mut Outbox) -> Step {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Gathering { body } => self.ask(body, ended_by, out),
            _ => Step::Over,
        }
    }

    fn ask(&mut self, body: Gathered, ended_by: End, out: &mut Outbox) -> Step {
        self.phase = Phase::Deciding { body: Gathered::default(), ended_by };
        let unread = Unread {
            settings: self.settings.clone(),
            head: std::mem::take(&mut self.head),
            id: self.record.request_id().to_owned(),
            subset: self.subset.clone(),
            body,
        };
        match unread.takes_long() {
            true => Step::Read(Box::new(unread)),
            false => self.read(unread.read(), out),
        }
    }

    /// The request was read; what follows is [`Step::Ask`] or [`Step::Over`].
    pub fn read(&mut self, read: Read, out: &mut Outbox) -> Step {
        let Phase::Deciding { body, .. } = &mut self.phase else { return Step::Over };
        self.head = read.head;
        match read.request {
            Ok(request) => {
                *body = read.body;
                self.record.read(&request);
                Step::Ask(Box::new(request))
            }
            Err(refusal) => {
                self.refuse(refusal, out);
                Step::Over
            }
        }
    }
}

/// The endpoints of the stages before decoding, and the data-parallel rank, for the sidecar of the endpoint that decodes.
fn stage_headers(decision: &Decision) -> Vec<(&'static str, String)> {
    let headers = [(Stage::Prefill, names::PREFILLER[0]), (Stage::Encode, names::ENCODERS)];
    let header = |(stage, name)| decision.leg(stage).map(|leg| (name, envoy_metadata::destination(leg.addresses())));
    let rank = decision.rank().map(|rank| (names::DATA_PARALLEL, rank.to_string()));
    headers.into_iter().filter_map(header).chain(rank).collect()
}

/// Sends the pieces of the body and the trailers. The end is marked where it was marked on arrival: a body that was
/// ended by trailers has no last piece. An empty body that ended by itself has one, to carry the end.
fn send_on(body: Gathered, ended_by: End, out: &mut Outbox) {
    let ends = ended_by == End::Body;
    let mut left = body.len();
    if left == 0 && ends {
        out.push_back(reply::request_piece(Vec::new(), true));
    }
    for piece in body.into_pieces() {
        left -= piece.len();
        out.push_back(reply::request_piece(piece, ends && left == 0));
    }
    if ended_by == End::Trailers {
        out.push_back(reply::request_trailers());
    }
}

/// Refuses body modes that this replica can't serve, so that a wrong configuration is reported and does not hang.
fn check_modes(protocol: &ProtocolConfiguration, whole: bool) -> Result<(), Fault> {
    let request_mode = unserved(protocol.request_body_mode, whole);
    let response_mode = unserved(protocol.response_body_mode, true);
    match (request_mode, response_mode) {
        (Some(mode), _) if !whole => Err(Fault::BodyMode { part: "request_body", mode }),
        (_, Some(mode)) => Err(Fault::BodyMode { part: "response_body", mode }),
        _ => Ok(()),
    }
}
