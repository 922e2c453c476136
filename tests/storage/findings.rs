//! What is wrong in the books counts until it is explained, or gone; and when it comes back, it counts again.

use jiff::Timestamp;
use malote::storage::findings::{self, Ran};
use malote::storage::reconcile::{Sample, reconcile};

use crate::audit::Books;

const WRONG: &str = "UPDATE pool_counters SET captured = 19";
const RIGHT: &str = "UPDATE pool_counters SET captured = 20";

/// Runs a check as a planner does, and tells how many findings nobody has explained.
async fn run(books: &Books, sample: Option<Sample>) -> usize {
    let ran = Ran {
        job: "a test",
        began_at: Timestamp::now(),
        seed: sample.map(|sample| sample.seed),
        is_whole: sample.is_none(),
    };
    let report = reconcile(&books.auditor, None, sample).await.expect("an answer");
    findings::keep(&books.system, ran, &report).await.expect("kept")
}

async fn states(books: &Books) -> Vec<String> {
    let mut connection = books.auditor.get().await.expect("a connection");
    let found = findings::list(&mut connection, true).await.expect("listed");
    found.into_iter().map(|finding| finding.state).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_counts_until_it_is_explained_or_gone() {
    let books = Books::open("findings").await;
    let sample = Sample { seed: 7, size: 5 };
    assert_eq!((run(&books, None).await, run(&books, Some(sample)).await), (0, 0));
    books.tamper(WRONG).await;
    assert_eq!(
        (run(&books, None).await, run(&books, None).await),
        (1, 1),
        "once, however often it is found"
    );
    assert_eq!(
        run(&books, Some(sample)).await,
        1,
        "a sample that does not see it takes nothing back"
    );
    books.tamper(RIGHT).await;
    assert_eq!(
        run(&books, Some(sample)).await,
        1,
        "nor does one that finds nothing say that it is gone"
    );
    assert_eq!(run(&books, None).await, 0);
    assert_eq!(states(&books).await, ["gone"]);

    books.tamper(WRONG).await;
    assert_eq!(run(&books, None).await, 1, "it came back");
    let mut connection = books.auditor.get().await.expect("a connection");
    let found = findings::list(&mut connection, false).await.expect("listed");
    drop(connection);
    let mut connection = books.system.get().await.expect("a connection");
    let explained = findings::explain(&mut connection, found[0].id, "a restore went wrong").await;
    assert!(explained.expect("noted"));
    drop(connection);
    assert_eq!(run(&books, None).await, 0, "somebody knows");
    assert_eq!(states(&books).await, ["explained"]);
    let drawn = books
        .owner
        .query_one(
            "SELECT seed, cardinality(attempts) FROM book_checks WHERE seed IS NOT NULL LIMIT 1",
            &[],
        )
        .await
        .expect("a run");
    assert_eq!(drawn.get::<_, i64>(0), 7);
    assert_eq!(
        drawn.get::<_, i32>(1),
        20,
        "five of all, and all of the category's, of which there are 20"
    );
    books.close().await;
}
