//! `budget-producer`: how much a request may cost, for `cost-per-hour`.
//!
//! A producer runs between a request's body and its decision. This one finds the limit in the body; one that asks a
//! service for the limit of a tenant would await the answer in the same place. What it learned is an attribute of the
//! request, which filters and scorers read. It must not fail requests: without an answer they are decided without it.

use std::sync::Arc;
use std::time::Duration;

use murmuration::plugin::{Invalid, Learned, Learning, NoParameters, Plugin, Produced, Producer, Roles, Unprepared};
use murmuration::request::InferenceRequest;
use serde::Deserialize;

/// The attribute: the highest price of an endpoint that may serve the request.
pub(crate) const ATTRIBUTE: &str = "max-cost-per-hour";
/// How long reading a body may take.
const DEADLINE: Duration = Duration::from_millis(50);

/// `budget-producer`.
#[derive(Debug)]
pub(crate) struct BudgetProducer;

/// A body as far as it is read: `{"metadata": {"max_cost_per_hour": "1.50"}}`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    max_cost_per_hour: Option<String>,
}

impl Producer for BudgetProducer {
    fn deadline(&self, _: &str, request: &InferenceRequest) -> Option<Duration> {
        (request.body_bytes > 0).then_some(DEADLINE)
    }

    fn learn<'a>(&'a self, asked: Unprepared<'a>) -> Learning<'a> {
        Box::pin(async move {
            let body: Body = serde_json::from_slice(asked.body.as_ref()).map_err(|_| "malformed")?;
            let limit = body.metadata.max_cost_per_hour.map(|limit| (ATTRIBUTE.to_owned(), limit));
            Ok(Learned { attributes: limit.into_iter().collect(), ..Learned::default() })
        })
    }
}

impl Plugin for BudgetProducer {
    const TYPE: &'static str = "budget-producer";
    const READS: &'static [Produced] = &[];
    type Parameters = NoParameters;

    fn build(_: NoParameters) -> Result<Self, Invalid> {
        Ok(Self)
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::producer(self)
    }
}
