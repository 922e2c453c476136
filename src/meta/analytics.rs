//! Reading what Meta says it charged.

use serde::Deserialize;

/// What Meta charged of a category on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// The first second of the day (UTC), in Unix seconds.
    pub day: i64,
    /// The category, in our spelling.
    pub category: String,
    /// Messages.
    pub messages: i64,
}

/// Meta's word for what is not free.
const REGULAR: &str = "REGULAR";

#[derive(Deserialize)]
struct Answer {
    pricing_analytics: Option<Analytics>,
}

#[derive(Deserialize)]
struct Analytics {
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    data_points: Vec<Point>,
}

#[derive(Deserialize)]
struct Point {
    start: i64,
    pricing_category: String,
    pricing_type: String,
    volume: i64,
}

/// The field that asks for it: all days from `start` to `end`, in Unix seconds.
pub(super) fn field(start: i64, end: i64) -> String {
    // The brackets and quotation marks are escaped: `dimensions(["PRICING_CATEGORY","PRICING_TYPE"])`.
    format!(
        "pricing_analytics.start({start}).end({end}).granularity(DAILY)\
         .dimensions(%5B%22PRICING_CATEGORY%22,%22PRICING_TYPE%22%5D)"
    )
}

/// Reads the answer; what is free is passed over. An account that sent nothing has no such field.
pub(super) fn read(body: &[u8]) -> Result<Vec<Charged>, String> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| format!("Meta's answer is not understood: {error}"))?;
    let data = answer.pricing_analytics.map(|analytics| analytics.data);
    let points = data.into_iter().flatten().flat_map(|data| data.data_points);
    let regular = points.filter(|point| point.pricing_type == REGULAR);
    Ok(regular
        .map(|point| Charged {
            day: point.start,
            category: point.pricing_category.to_lowercase(),
            messages: point.volume,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_charged_is_read() {
        let body = br#"{"pricing_analytics":{"data":[{"data_points":[
            {"start":86400,"end":172800,"country":"BR","pricing_category":"UTILITY","pricing_type":"REGULAR","volume":7,"cost":0.06},
            {"start":86400,"end":172800,"pricing_category":"SERVICE","pricing_type":"FREE_CUSTOMER_SERVICE","volume":3}]}]},"id":"1"}"#;
        let read = read(body).expect("understood");
        let utility = Charged {
            day: 86_400,
            category: "utility".to_owned(),
            messages: 7,
        };
        assert_eq!(read, [utility]);
        assert_eq!(super::read(br#"{"id":"1"}"#), Ok(Vec::new()));
        assert!(super::read(b"<html>").is_err());
    }
}
