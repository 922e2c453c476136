//! Meta's envelope: how many updates it holds, and its parts, each by itself, so that one that is not understood spoils no other.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A delivery, as far as we look into it. What we do not know is Meta's right.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    /// One per account.
    #[serde(borrow, default)]
    pub entry: Vec<&'a RawValue>,
}

/// What one account reports.
#[derive(Debug, Deserialize)]
pub struct Entry<'a> {
    /// Meta's id of the account.
    #[serde(default)]
    pub id: Scalar,
    /// When Meta sent it; only some fields say so.
    #[serde(default)]
    pub time: Scalar,
    /// What changed.
    #[serde(borrow, default)]
    pub changes: Vec<&'a RawValue>,
}

/// One change.
#[derive(Debug, Deserialize)]
pub struct Change<'a> {
    /// Which field changed.
    #[serde(default)]
    pub field: Scalar,
    /// Its new value.
    #[serde(borrow)]
    pub value: &'a RawValue,
}

/// Text or a number: Meta's own examples have both in the same places. Anything else is an empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scalar(pub String);

impl Scalar {
    /// Reads a whole number.
    pub fn number(&self) -> Option<i64> {
        self.0.parse().ok()
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar(text.to_owned()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::default())
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Scalar, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Scalar, A::Error> {
        while pairs.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::default())
    }
}

/// Counts the updates of a delivery without keeping anything of it: statuses, messages and the like by themselves, any other change
/// as one. Zero for what is no envelope.
pub fn count_updates(body: &[u8]) -> usize {
    serde_json::from_slice::<Tally>(body).map_or(0, |tally| tally.entry.0)
}

#[derive(Deserialize)]
struct Tally {
    #[serde(default)]
    entry: Sum<EntryTally>,
}

#[derive(Deserialize)]
struct EntryTally {
    #[serde(default)]
    changes: Sum<ChangeTally>,
}

#[derive(Deserialize)]
struct ChangeTally {
    #[serde(default)]
    value: ValueTally,
}

#[derive(Default)]
struct ValueTally(usize);

/// The lists of a value whose items are updates.
const LISTS: [&str; 5] = ["statuses", "messages", "user_preferences", "groups", "calls"];

trait Count {
    fn count(&self) -> usize;
}

impl Count for EntryTally {
    fn count(&self) -> usize {
        self.changes.0
    }
}

impl Count for ChangeTally {
    fn count(&self) -> usize {
        self.value.0.max(1)
    }
}

impl Count for IgnoredAny {
    fn count(&self) -> usize {
        1
    }
}

/// The sum over a list. What is no list has none.
struct Sum<T>(usize, std::marker::PhantomData<T>);

impl<T> Default for Sum<T> {
    fn default() -> Self {
        Self(0, std::marker::PhantomData)
    }
}

impl<'de, T: Count + Deserialize<'de>> Deserialize<'de> for Sum<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SumVisitor(std::marker::PhantomData))
    }
}

struct SumVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Count + Deserialize<'de>> Visitor<'de> for SumVisitor<T> {
    type Value = Sum<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Sum<T>, A::Error> {
        let mut sum = 0_usize;
        while let Some(item) = items.next_element::<T>()? {
            sum = sum.saturating_add(item.count());
        }
        Ok(Sum(sum, std::marker::PhantomData))
    }

    fn visit_unit<E>(self) -> Result<Sum<T>, E> {
        Ok(Sum::default())
    }
}

impl<'de> Deserialize<'de> for ValueTally {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = ValueTally;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the value of a change")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<ValueTally, A::Error> {
        let mut sum = 0_usize;
        while let Some(key) = pairs.next_key::<Scalar>()? {
            if LISTS.contains(&key.0.as_str()) {
                sum = sum.saturating_add(pairs.next_value::<Sum<IgnoredAny>>()?.0);
            } else {
                pairs.next_value::<IgnoredAny>()?;
            }
        }
        Ok(ValueTally(sum))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<ValueTally, A::Error> {
        let visitor = SumVisitor::<IgnoredAny>(std::marker::PhantomData);
        Ok(ValueTally(visitor.visit_seq(items)?.0))
    }

    fn visit_unit<E>(self) -> Result<ValueTally, E> {
        Ok(ValueTally(0))
    }

    fn visit_str<E>(self, _: &str) -> Result<ValueTally, E> {
        Ok(ValueTally(0))
    }

    fn visit_i64<E>(self, _: i64) -> Result<ValueTally, E> {
        Ok(ValueTally(0))
    }

    fn visit_u64<E>(self, _: u64) -> Result<ValueTally, E> {
        Ok(ValueTally(0))
    }

    fn visit_f64<E>(self, _: f64) -> Result<ValueTally, E> {
        Ok(ValueTally(0))
    }

    fn visit_bool<E>(self, _: bool) -> Result<ValueTally, E> {
        Ok(ValueTally(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> String {
        format!(r#"{{"entry":[{{"changes":[{{"field":"messages","value":{value}}}]}}]}}"#)
    }

    #[test]
    fn updates_are_counted_wherever_they_are() {
        for (body, expected) in [
            (of(r#"{"statuses":[{},{},{}]}"#), 3),
            (of(r#"{"statuses":[{}],"messages":[{},{}]}"#), 3),
            (of(r#"{"contacts":[{},{},{}]}"#), 1),
            (of(r#"[{},{}]"#), 2),
            (of("null"), 1),
            (of("7"), 1),
            (of("-7"), 1),
            (of("7.5"), 1),
            (of("true"), 1),
            (of(r#""text""#), 1),
            (of(r#"{"statuses":null}"#), 1),
            (r#"{"entry":null}"#.to_owned(), 0),
            (
                r#"{"entry":[{"changes":[{},{}]},{"changes":[{}]}]}"#.to_owned(),
                3,
            ),
            (r#"{"entry":5}"#.to_owned(), 0),
            ("[".repeat(100_000), 0),
            (String::new(), 0),
        ] {
            let shown: String = body.chars().take(80).collect();
            assert_eq!(count_updates(body.as_bytes()), expected, "{shown}");
        }
        let many = of(&format!(r#"{{"statuses":[{}{{}}]}}"#, "{},".repeat(1_000)));
        assert_eq!(count_updates(many.as_bytes()), 1_001);
    }

    #[test]
    fn a_scalar_is_text_or_a_number_and_nothing_else() {
        for (json, expected) in [
            (r#""a""#, "a"),
            (r#""\u00e9""#, "é"),
            ("17", "17"),
            ("-17", "-17"),
            ("1.5", ""),
            ("null", ""),
            ("false", ""),
            ("[1,[2]]", ""),
            (r#"{"a":{"b":1}}"#, ""),
        ] {
            assert_eq!(
                serde_json::from_str::<Scalar>(json).unwrap().0,
                expected,
                "{json}"
            );
        }
        assert_eq!(Scalar("1750030073".to_owned()).number(), Some(1_750_030_073));
        assert_eq!(Scalar("soon".to_owned()).number(), None);
    }

    #[test]
    fn parts_are_read_one_by_one() {
        let body = r#"{"object":"whatsapp_business_account","entry":[7,{"id":102290129340398,"time":1739321024,
            "changes":[{"field":"flows","value":{"a":1}},{"field":"no value"}]}]}"#;
        let envelope: Envelope<'_> = serde_json::from_str(body).unwrap();
        assert!(serde_json::from_str::<Entry<'_>>(envelope.entry[0].get()).is_err());
        let entry: Entry<'_> = serde_json::from_str(envelope.entry[1].get()).unwrap();
        assert_eq!(
            (entry.id.0.as_str(), entry.time.number()),
            ("102290129340398", Some(1_739_321_024))
        );
        let change: Change<'_> = serde_json::from_str(entry.changes[0].get()).unwrap();
        assert_eq!(
            (change.field.0.as_str(), change.value.get()),
            ("flows", r#"{"a":1}"#)
        );
        assert!(serde_json::from_str::<Change<'_>>(entry.changes[1].get()).is_err());
    }
}
