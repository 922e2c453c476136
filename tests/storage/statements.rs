//! What a finance person keeps: each captured unit of the invoice is a row of the export, with its message and what Meta said of it.

use std::time::Duration;

use malote::statements::{InvoiceView, LedgerForm, LedgerPages};
use malote::storage::committer::closing;
use malote::storage::{invoices, ledger_lines};

use crate::audit::Books;

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_is_followed_to_its_messages_and_to_what_meta_said() {
    let books = Books::open("statements").await;
    let closed = closing::close_due(&books.system, Duration::from_secs(72 * 3_600)).await;
    assert_eq!(closed.expect("closed"), 1);
    let mut connection = books.auditor.get().await.expect("a connection");
    let stored = invoices::of_period(&mut connection, books.tenant, 1)
        .await
        .expect("read");
    let invoice = InvoiceView::of_stored(stored.expect("an invoice")).expect("shown");
    let units: i64 = invoice
        .lines
        .iter()
        .filter(|line| line.kind != "fee")
        .map(|line| line.quantity)
        .sum();

    let mut pages = LedgerPages::new(books.tenant, 1, LedgerForm::Csv);
    let mut text = Vec::new();
    while let Some(page) = pages.next(&mut connection).await.expect("read") {
        text.extend_from_slice(&page);
    }
    let mut reader = csv::Reader::from_reader(&text[..]);
    let header = reader.headers().expect("a header").clone();
    let rows: Vec<_> = reader.records().map(|row| row.expect("well formed")).collect();
    assert_eq!(rows.len(), 41, "20 reservations, 20 captures, and the cut");
    let column = |name: &str| header.iter().position(|one| one == name).expect("a column");
    let captured: Vec<_> = rows
        .iter()
        .filter(|row| &row[column("kind")] == "capture")
        .collect();
    assert_eq!(i64::try_from(captured.len()).expect("few"), units);
    for row in captured {
        let told = ["message_id", "evidence_id", "status_at"].map(|name| !row[column(name)].is_empty());
        assert_eq!(told, [true; 3], "{row:?}");
        let said = ["status", "pricing_type"].map(|name| row[column(name)].to_owned());
        assert_eq!(said, ["delivered", "regular"]);
        assert!(row[column("wamid")].starts_with("wamid."), "{row:?}");
    }
    let last = rows.last().expect("the cut");
    assert_eq!(last[column("seq")].parse().ok(), invoice.cut_seq);
    assert_eq!(Some(&last[column("hash")]), invoice.cut_hash.as_deref());
    let unknown = ledger_lines::has_period(&mut connection, books.tenant, 99).await;
    assert!(!unknown.expect("asked"));
    drop(connection);
    books.close().await;
}
