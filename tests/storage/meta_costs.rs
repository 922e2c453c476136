//! What Meta takes is written beside the ledger, by the rate of the recipient's market that was in effect; a price never changes.

use domain::category::Category;
use domain::money::Micros;
use domain::rate_card::Rate;
use malote::storage::meta_costs::{self, Imported, PeriodCost, Recorded};

use crate::audit::Books;

/// Of the books' recipients, who are Brazilian, and whose messages arrived ten days ago.
const BRAZIL: (&str, &str, &str) = ("Brazil", "+55", "2025-07-01T00:00:00Z");

fn rate((market, prefix, effective_from): (&str, &str, &str), price: i64) -> Rate {
    Rate {
        market: market.to_owned(),
        prefix: prefix.to_owned(),
        category: Category::Utility,
        currency: "BRL".to_owned(),
        price: Micros(price),
        effective_from: effective_from.parse().expect("a time"),
    }
}

async fn import(books: &Books, rates: &[Rate]) -> Imported {
    let imported = meta_costs::import(&books.system, rates, "a test").await;
    imported.expect("an answer")
}

async fn record(books: &Books) -> (usize, usize, usize) {
    let Recorded {
        units,
        unpriced,
        drifted,
    } = meta_costs::record(&books.system).await.expect("recorded");
    (units, unpriced, drifted)
}

async fn costs(books: &Books) -> Vec<PeriodCost> {
    let mut connection = books.auditor.get().await.expect("a connection");
    let costs = meta_costs::by_period(&mut connection, Some(books.tenant), None).await;
    costs.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_captured_unit_costs_what_the_card_of_its_day_says() {
    let books = Books::open("meta_costs").await;
    assert_eq!(record(&books).await, (20, 20, 0), "no card yet");
    assert_eq!(record(&books).await, (0, 0, 0), "each unit once");
    assert_eq!(costs(&books).await[0].cost_micros, None);

    let card = [
        rate(("Other", "", BRAZIL.2), 90_000),
        rate(BRAZIL, 30_000),
        rate(("Brazil", "+55", "2025-10-01T00:00:00Z"), 40_000),
        rate(("Brazil", "+55", "2099-01-01T00:00:00Z"), 70_000),
        rate(("Elsewhere", "+5521", BRAZIL.2), 80_000),
    ];
    let imported = import(&books, &card).await;
    assert_eq!((imported.added, imported.known, imported.priced), (5, 0, 20));
    let expected = PeriodCost {
        tenant: books.tenant,
        period: 1,
        category: "utility".to_owned(),
        market: Some("Brazil".to_owned()),
        currency: "BRL".to_owned(),
        messages: 20,
        cost_micros: Some(20 * 40_000),
    };
    assert_eq!(costs(&books).await, std::slice::from_ref(&expected));

    books.tamper("DELETE FROM message_costs WHERE seq > 20").await;
    assert_eq!(
        record(&books).await,
        (10, 0, 0),
        "priced at once, from where the last run ended"
    );
    assert_eq!(costs(&books).await, [expected]);
    books.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_never_changes_and_a_card_is_taken_whole_or_not_at_all() {
    let books = Books::open("rate_cards").await;
    let first = [rate(BRAZIL, 30_000)];
    assert_eq!(import(&books, &first).await.added, 1);
    assert_eq!(import(&books, &first).await.known, 1, "the same card again");
    let other = [rate(BRAZIL, 31_000), rate(("Other", "", BRAZIL.2), 90_000)];
    let refused = import(&books, &other).await;
    assert_eq!(
        (refused.added, refused.contradictions.len()),
        (0, 1),
        "{refused:?}"
    );
    assert!(
        refused.contradictions[0].contains("0.03, and not 0.031"),
        "{refused:?}"
    );
    let again = import(&books, &other[1..]).await;
    assert_eq!(again.added, 1, "nothing of the refused card was kept");
    books.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cost_that_is_written_while_a_card_is_added_gets_its_price() {
    let books = Books::open("cards_beside").await;
    let mut writer = books.system.begin().await.expect("a transaction");
    writer
        .execute(
            "INSERT INTO message_costs (tenant_id, seq, period, category, currency, drifted, delivered_at)
             VALUES ($1, 2, 1, 'utility', 'BRL', false, now())",
            &[&books.tenant.0],
        )
        .await
        .expect("written by rates that lack this one");
    let system = books.system.clone();
    let card = [rate(BRAZIL, 30_000)];
    let importing = tokio::spawn(async move { meta_costs::import(&system, &card, "a test").await });
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'message_costs'::regclass";
    loop {
        let waiting: i64 = books.owner.query_one(waits, &[]).await.expect("locks").get(0);
        if waiting > 0 || importing.is_finished() {
            break;
        }
        tokio::task::yield_now().await;
    }
    writer.commit().await.expect("written");
    let imported = importing.await.expect("no panic").expect("an answer");
    assert_eq!((imported.added, imported.priced), (1, 1));
    books.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_category_than_was_reserved_is_counted() {
    let books = Books::open("drift").await;
    books
        .tamper("UPDATE ledger SET category = 'marketing' WHERE seq = 2")
        .await;
    assert_eq!(record(&books).await, (20, 20, 1));
    books.close().await;
}
