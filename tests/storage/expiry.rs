//! Holds without news: given back in time, never while it is unknown whether the message left, and used all the same if Meta bills it.

use std::time::Duration;

use malote::storage::anchors::Anchored;
use malote::storage::committer::expiry::expire_holds;

use crate::audit::Books;

/// The rows of the books are ten days old.
const OLDER: Duration = Duration::from_secs(9 * 86_400);
const YOUNGER: Duration = Duration::from_secs(11 * 86_400);
/// Takes the last capture back, with its proof: its unit is held again.
const SILENT: &str = "CREATE TABLE last AS SELECT attempt_id AS id FROM ledger WHERE seq = 39;
    DELETE FROM ledger WHERE seq = 40;
    UPDATE billing_head SET seq = 39, head_hash = (SELECT hash FROM ledger WHERE seq = 39);
    UPDATE pool_counters SET captured = 19, held = 1;
    DELETE FROM events WHERE attempt_id = (SELECT id FROM last);
    UPDATE messages SET state = 'accepted' WHERE attempt_id = (SELECT id FROM last)";

async fn state_becomes(books: &Books, state: &str) {
    let since = if state == "unknown" { "now()" } else { "NULL" };
    let statement = format!(
        "UPDATE messages SET state = '{state}', unknown_since = {since} WHERE attempt_id = (SELECT id FROM last)"
    );
    books.owner.batch_execute(&statement).await.expect("changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_without_news_is_given_back_once_it_is_old() {
    let books = Books::open("expiry").await;
    let expire = async |after| expire_holds(&books.system, after).await.expect("done");
    assert_eq!(expire(OLDER).await, 0, "nothing is held");
    books.tamper(SILENT).await;
    assert_eq!(expire(YOUNGER).await, 0, "news may still come");
    state_becomes(&books, "unknown").await;
    assert_eq!(expire(OLDER).await, 0, "it may have left");
    state_becomes(&books, "accepted").await;
    assert_eq!(expire(OLDER).await, 1);
    assert_eq!(expire(OLDER).await, 0, "once");
    let row = books
        .owner
        .query_one("SELECT held, captured, expired FROM pool_counters", &[])
        .await
        .expect("counters");
    let counted: (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(counted, (0, 19, 1));
    assert_eq!(books.verify(&Anchored::new()).await, [] as [String; 0]);
    assert_eq!(books.reconcile(None).await, [] as [String; 0]);
    books.close().await;
}
