//! What Meta says it charged: `GET /{waba id}` with the field `pricing_analytics`, by day or half an hour, category and type.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::catalog::GraphError;
use crate::messages::{Category, Message, Status};
use crate::reads::Query;
use crate::shared::Shared;

/// Days that one call may ask about.
const DAYS_MOST: u64 = 90;
const DAY: u64 = 86_400;
const HALF_HOUR: u64 = 1_800;

/// What is asked: a span of Unix seconds, cut into pieces of equal length.
struct Asked {
    start: u64,
    end: u64,
    piece: u64,
}

/// Tells whether a query asks for it.
pub(crate) fn is_asked(query: &Query) -> bool {
    query
        .get("fields")
        .is_some_and(|fields| fields.starts_with("pricing_analytics"))
}

/// Counts what arrived in the span asked for.
pub(crate) fn pricing(shared: &Shared, waba_id: &str, query: &Query) -> Result<Value, GraphError> {
    let asked = Asked::read(query.get("fields").unwrap_or_default())?;
    let state = shared.state();
    if !state.numbers.has_waba(waba_id) {
        return Err(GraphError::no_object(waba_id));
    }
    let mut volumes: BTreeMap<(u64, &str, &str), u64> = BTreeMap::new();
    for message in &state.messages {
        let number = state.numbers.at(message.number);
        let piece = arrived_at(message).and_then(|at| asked.piece_of(at));
        if let (Some(piece), true) = (piece, number.config.waba_id == waba_id) {
            *volumes
                .entry((piece, category(message.category), kind(message)))
                .or_default() += 1;
        }
    }
    let points = volumes.into_iter().map(|((start, category, kind), volume)| {
        json!({
            "start": start, "end": start + asked.piece, "pricing_category": category, "pricing_type": kind, "volume": volume,
        })
    });
    let points: Vec<Value> = points.collect();
    Ok(json!({"id": waba_id, "pricing_analytics": {"data": [{"data_points": points}]}}))
}

fn arrived_at(message: &Message) -> Option<u64> {
    let times = [Status::Delivered, Status::Read].map(|status| message.happened_at(status));
    times.into_iter().flatten().min().map(u64::from)
}

const fn category(category: Category) -> &'static str {
    match category {
        Category::Authentication => "AUTHENTICATION",
        Category::Marketing => "MARKETING",
        Category::Service => "SERVICE",
        Category::Utility => "UTILITY",
    }
}

fn kind(message: &Message) -> &'static str {
    match (message.free, message.category) {
        (false, _) => "REGULAR",
        (true, Category::Service) => "FREE_CUSTOMER_SERVICE",
        (true, _) => "FREE_ENTRY_POINT",
    }
}

impl Asked {
    /// Reads `pricing_analytics.start(1).end(2).granularity(DAILY)...`.
    fn read(field: &str) -> Result<Self, GraphError> {
        let argument = |name: &str| {
            let (_, rest) = field.split_once(&format!(".{name}("))?;
            rest.split_once(')').map(|(value, _)| value)
        };
        let second = |name: &str| argument(name).and_then(|value| value.parse::<u64>().ok());
        let (Some(start), Some(end)) = (second("start"), second("end")) else {
            return Err(GraphError::parameter(
                "Invalid parameter: start and end are Unix seconds",
            ));
        };
        let piece = match argument("granularity") {
            Some("DAILY") => DAY,
            Some("HALF_HOUR") => HALF_HOUR,
            _ => {
                return Err(GraphError::parameter(
                    "Invalid parameter: granularity is HALF_HOUR or DAILY",
                ));
            }
        };
        if end <= start || end - start > DAYS_MOST * DAY {
            return Err(GraphError::parameter(
                "Invalid parameter: a span of 90 days at most",
            ));
        }
        Ok(Self { start, end, piece })
    }

    /// Gives the beginning of the piece in which a time is; nothing outside of the span.
    fn piece_of(&self, at: u64) -> Option<u64> {
        (self.start..self.end).contains(&at).then(|| at - at % self.piece)
    }
}
