//! Meta's rate card: what Meta takes for a delivered message by market, category and day, in the currency in which it bills. Meta
//! charges per delivered message since 2025-07-01, by the market of the recipient's calling code (developers.facebook.com/documentation/
//! business-messaging/whatsapp/pricing). Lower prices of high volumes are not on it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::category::{Category, UnknownCategory};
use crate::money::{Currency, Micros, UnknownCurrency, UnknownPrice};

/// Stands for every recipient that no other row of the card is about.
const OTHERS: &str = "*";

/// A price: of one category, in one market, from an instant on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Meta's name of the market.
    pub market: String,
    /// How its recipients begin: `+55` for phone numbers, `BR.` for user ids; empty for every recipient that no other rate is about.
    pub prefix: String,
    /// The category.
    pub category: Category,
    /// ISO 4217.
    pub currency: String,
    /// For one message.
    pub price: Micros,
    /// From when on.
    pub effective_from: Timestamp,
}

/// A row of a rate card as people write it; it stands for a rate per prefix.
#[derive(Clone, Copy, Debug)]
pub struct CardRow<'a> {
    /// Meta's name of the market.
    pub market: &'a str,
    /// How its recipients begin, by blanks: `+55 BR.`; or `*`.
    pub prefixes: &'a str,
    /// The category.
    pub category: &'a str,
    /// ISO 4217.
    pub currency: &'a str,
    /// With a decimal point: `0.0625`.
    pub price: &'a str,
    /// RFC 3339. Meta's prices change at midnight of the account's time zone.
    pub effective_from: &'a str,
}

/// Why a row is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateRefused {
    /// A market without a name.
    #[error("market: it needs a name")]
    Market,
    /// Not how recipients begin.
    #[error("prefixes: {0:?} is neither a calling code (+55), nor a country of user ids (BR.), nor *")]
    Prefix(String),
    /// No prefix.
    #[error("prefixes: name one at least, or * for all other recipients")]
    NoPrefix,
    /// Not a category.
    #[error("category: {0}")]
    Category(#[from] UnknownCategory),
    /// Not a currency.
    #[error("currency: {0}")]
    Currency(#[from] UnknownCurrency),
    /// Not a price.
    #[error("price: {0}")]
    Price(#[from] UnknownPrice),
    /// Meta pays nobody.
    #[error("price: it is negative")]
    Negative,
    /// Not an instant.
    #[error("effective_from: {0:?} is no time: write 2026-10-01T00:00:00-03:00")]
    Time(String),
    /// The same price twice.
    #[error("{0} {1} in {2} has a price from that time on already, further up")]
    Twice(String, &'static str, String),
}

/// Reads the rows of a card.
///
/// # Errors
/// The number of the first row that is no rate, counted from 1, and why.
pub fn read<'a>(rows: impl IntoIterator<Item = CardRow<'a>>) -> Result<Vec<Rate>, (usize, RateRefused)> {
    let (mut rates, mut seen) = (Vec::new(), BTreeSet::new());
    for (index, row) in rows.into_iter().enumerate() {
        for rate in row.rates().map_err(|why| (index + 1, why))? {
            let key = (
                rate.prefix.clone(),
                rate.category,
                rate.currency.clone(),
                rate.effective_from,
            );
            if !seen.insert(key) {
                let twice = RateRefused::Twice(rate.market, rate.category.as_str(), rate.currency);
                return Err((index + 1, twice));
            }
            rates.push(rate);
        }
    }
    Ok(rates)
}

impl CardRow<'_> {
    fn rates(&self) -> Result<Vec<Rate>, RateRefused> {
        let market = self.market.trim();
        if market.is_empty() {
            return Err(RateRefused::Market);
        }
        let price: Micros = self.price.trim().parse()?;
        if price.0 < 0 {
            return Err(RateRefused::Negative);
        }
        let rate = Rate {
            market: market.to_owned(),
            prefix: String::new(),
            category: self.category.trim().parse()?,
            currency: Currency::from_code(self.currency.trim())?.code,
            price,
            effective_from: self
                .effective_from
                .trim()
                .parse()
                .map_err(|_| RateRefused::Time(self.effective_from.to_owned()))?,
        };
        let prefixes = self.prefixes.split_ascii_whitespace().map(prefix);
        let rates = prefixes.map(|prefix| {
            prefix.map(|prefix| Rate {
                prefix,
                ..rate.clone()
            })
        });
        let rates: Vec<Rate> = rates.collect::<Result<_, _>>()?;
        if rates.is_empty() {
            return Err(RateRefused::NoPrefix);
        }
        Ok(rates)
    }
}

fn prefix(text: &str) -> Result<String, RateRefused> {
    let is_code = text.strip_prefix('+').is_some_and(|digits| {
        (1..=7).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    let is_country = text
        .strip_suffix('.')
        .is_some_and(|country| country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase()));
    match text {
        OTHERS => Ok(String::new()),
        _ if is_code || is_country => Ok(text.to_owned()),
        _ => Err(RateRefused::Prefix(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: CardRow<'_> = CardRow {
        market: "Brazil",
        prefixes: "+55 BR.",
        category: "marketing",
        currency: "USD",
        price: "0.0625",
        effective_from: "2026-10-01T00:00:00-03:00",
    };

    #[test]
    fn a_row_is_a_rate_for_each_of_its_prefixes() {
        let others = CardRow {
            market: "Other",
            prefixes: "*",
            ..ROW
        };
        let rates = read([ROW, others]).unwrap();
        let prefixes: Vec<&str> = rates.iter().map(|rate| rate.prefix.as_str()).collect();
        assert_eq!(prefixes, ["+55", "BR.", ""]);
        assert_eq!(rates[0].price, Micros(62_500));
        assert_eq!(rates[0].effective_from, "2026-10-01T03:00:00Z".parse().unwrap());
    }

    #[test]
    fn what_is_no_rate_is_refused_with_its_row() {
        let wrong = [
            CardRow { market: " ", ..ROW },
            CardRow {
                prefixes: "55",
                ..ROW
            },
            CardRow {
                prefixes: "+0",
                ..ROW
            },
            CardRow { prefixes: "", ..ROW },
            CardRow {
                category: "news",
                ..ROW
            },
            CardRow {
                currency: "usd",
                ..ROW
            },
            CardRow { price: "0,06", ..ROW },
            CardRow { price: "-1", ..ROW },
            CardRow {
                effective_from: "2026-10-01",
                ..ROW
            },
            ROW,
        ];
        for row in wrong {
            let (number, why) = read([ROW, row]).unwrap_err();
            assert_eq!(number, 2, "{why}");
        }
    }
}
