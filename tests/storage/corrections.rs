//! Corrections by hand: a row of the ledger and a line of the invoice each, once, by two people where they are large, and never in silence.

use std::time::Duration;

use domain::correction::Refused;
use domain::money::Micros;
use malote::statements::InvoiceView;
use malote::storage::anchors::Anchored;
use malote::storage::committer::closing;
use malote::storage::committer::correcting::{self, CorrectionError, Wanted};
use malote::storage::corrections::{self, KeptCorrection};

use crate::audit::Books;

/// What one person may correct, in main units.
const ALONE: u64 = 100;
/// The fee, and ten units beyond the allowance.
const UNCORRECTED: i64 = 9_900 + 10 * 12;

async fn correct(
    books: &Books,
    amount: &str,
    reason: &str,
    by: &str,
) -> Result<KeptCorrection, CorrectionError> {
    let wanted = Wanted {
        tenant: books.tenant,
        amount: amount.parse::<Micros>().expect("an amount"),
        reason,
        by,
    };
    correcting::propose(&books.system, wanted, ALONE).await
}

async fn close(books: &Books) -> usize {
    let closed = closing::close_due(&books.system, Duration::from_secs(72 * 3_600)).await;
    closed.expect("closed")
}

async fn clean(books: &Books) {
    assert_eq!(books.verify(&Anchored::new()).await, [] as [String; 0]);
    assert_eq!(books.reconcile(None).await, [] as [String; 0]);
}

async fn adjustments(books: &Books) -> i64 {
    let count = "SELECT count(*) FROM ledger WHERE kind = 'adjust'";
    books.owner.query_one(count, &[]).await.expect("counted").get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_is_a_line_of_the_next_invoice_and_is_never_taken_back() {
    let books = Books::open("corrected").await;
    let made = correct(&books, "-25.50", "outage of 12 May", "ana")
        .await
        .expect("booked");
    assert_eq!(
        (&*made.state, made.period, made.seq),
        ("booked", Some(1), Some(41))
    );
    let twice = correct(&books, "-25.50", "outage of 12 May", "bruno").await;
    assert!(matches!(twice, Err(CorrectionError::Twice)), "{twice:?}");
    clean(&books).await;
    assert_eq!(close(&books).await, 1);
    clean(&books).await;

    let mut connection = books.system.get().await.expect("a connection");
    let issued = malote::storage::invoices::of_period(&mut connection, books.tenant, 1).await;
    let issued = InvoiceView::of_stored(issued.expect("read").expect("issued")).expect("shown");
    let line = issued.lines.last().expect("a line");
    assert_eq!(
        (&*line.description, line.amount_minor, issued.total_minor),
        ("Correction: outage of 12 May", -2_550, UNCORRECTED - 2_550)
    );

    let late = correct(&books, "3", "import done by us", "ana")
        .await
        .expect("booked");
    assert_eq!(late.period, Some(2), "the first one is issued");
    let next = closing::draw(&mut connection, books.tenant, 2, (i64::MAX, [0; 32])).await;
    let kinds: Vec<_> = next
        .expect("drawn")
        .lines
        .iter()
        .map(|line| line.kind.as_str())
        .collect();
    assert_eq!(kinds, ["fee", "correction"], "nothing adjusts what was corrected");
    let now = jiff::Timestamp::now();
    let open = InvoiceView::open(&mut connection, books.tenant, now)
        .await
        .expect("read");
    let open = open.expect("a draft");
    assert_eq!((open.period, open.total_minor), (2, 9_900 + 300));
    clean(&books).await;
    drop(connection);
    books.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_correction_takes_two_people_and_small_ones_add_up() {
    let books = Books::open("two_people").await;
    let first = correct(&books, "-60", "first", "Ana").await.expect("booked");
    assert_eq!((&*first.state, first.needs_second), ("booked", false));
    let second = correct(&books, "60", "second", "Ana").await.expect("kept");
    assert_eq!((&*second.state, second.needs_second), ("proposed", true));
    assert_eq!(adjustments(&books).await, 1);

    let alone = correcting::approve(&books.system, second.id, " ana").await;
    let is_refused = matches!(alone, Err(CorrectionError::Refused(Refused::SamePerson(_))));
    assert!(is_refused, "{alone:?}");
    let (one, other) = tokio::join!(
        correcting::approve(&books.system, second.id, "Bruno"),
        correcting::approve(&books.system, second.id, "Clara"),
    );
    let (booked, refused): (Vec<_>, Vec<_>) = [one, other].into_iter().partition(Result::is_ok);
    assert_eq!((booked.len(), refused.len()), (1, 1));
    assert!(matches!(&refused[0], Err(CorrectionError::Decided(_, state)) if state == "booked"));
    assert_eq!(adjustments(&books).await, 2);

    let third = correct(&books, "-500", "third", "Ana").await.expect("kept");
    let withdrawn = correcting::withdraw(&books.system, third.id, "Ana")
        .await
        .expect("withdrawn");
    assert_eq!((&*withdrawn.state, withdrawn.seq), ("withdrawn", None));
    let late = correcting::approve(&books.system, third.id, "Bruno").await;
    assert!(matches!(late, Err(CorrectionError::Decided(..))), "{late:?}");
    let again = correct(&books, "-500", "third", "Ana").await.expect("kept");
    let mut connection = books.auditor.get().await.expect("a connection");
    let waiting = corrections::list(&mut connection, Some(books.tenant), false)
        .await
        .expect("listed");
    assert_eq!(waiting.iter().map(|one| one.id).collect::<Vec<_>>(), [again.id]);
    let all = corrections::list(&mut connection, None, true)
        .await
        .expect("listed");
    assert_eq!(all.len(), 4);
    clean(&books).await;
    drop(connection);
    books.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_corrects_what_is_no_invoice_or_no_amount() {
    let books = Books::open("uncorrected").await;
    for (amount, reason, by) in [
        ("0", "why", "ana"),
        ("0.001", "why", "ana"),
        ("1", " ", "ana"),
        ("1", "why", ""),
    ] {
        let refused = correct(&books, amount, reason, by).await;
        assert!(
            matches!(refused, Err(CorrectionError::Refused(_))),
            "{amount} {reason:?} {by:?}: {refused:?}"
        );
    }
    let nobody = Wanted {
        tenant: domain::ids::TenantId(uuid::Uuid::now_v7()),
        amount: Micros(1_000_000),
        reason: "why",
        by: "ana",
    };
    let refused = correcting::propose(&books.system, nobody, ALONE).await;
    assert!(
        matches!(refused, Err(CorrectionError::NoInvoice(_))),
        "{refused:?}"
    );
    let unknown = correcting::approve(&books.system, uuid::Uuid::now_v7(), "ana").await;
    assert!(matches!(unknown, Err(CorrectionError::Unknown(_))), "{unknown:?}");
    assert_eq!(adjustments(&books).await, 0);
    books.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_that_somebody_changed_is_found() {
    let books = Books::open("corrections_tampered").await;
    let made = correct(&books, "-25.50", "outage of 12 May", "ana")
        .await
        .expect("booked");
    assert_eq!(close(&books).await, 1);
    for (statement, why) in [
        ("UPDATE corrections SET decided_by = 'eve'", "changes no more"),
        ("DELETE FROM corrections", "append-only"),
    ] {
        let refused = books
            .owner
            .batch_execute(statement)
            .await
            .expect_err("kept as it is");
        let told = refused.as_db_error().map(|error| error.message().to_owned());
        assert!(
            told.as_deref().is_some_and(|told| told.contains(why)),
            "{statement}: {told:?}"
        );
    }
    let change = |what: &str| {
        format!(
            "ALTER TABLE corrections DISABLE TRIGGER USER; {what}; ALTER TABLE corrections ENABLE TRIGGER USER"
        )
    };
    let planted = "INSERT INTO corrections (tenant_id, id, micros, currency, reason, needs_second, proposed_by, state, decided_by, decided_at,
            period, seq)
        VALUES ('{tenant}', '{tenant}', 1, 'BRL', 'planted', false, 'eve', 'booked', 'eve', now(), 1, 3)";
    let id = made.id;
    let faults = [
        (
            "UPDATE corrections SET micros = -25510000".to_owned(),
            "R10",
            "UPDATE corrections SET micros = -25500000".to_owned(),
        ),
        (
            "UPDATE corrections SET reason = 'goodwill'".to_owned(),
            "I12",
            "UPDATE corrections SET reason = 'outage of 12 May'".to_owned(),
        ),
        (
            planted.to_owned(),
            "R10",
            "DELETE FROM corrections WHERE seq = 3".to_owned(),
        ),
        (
            format!(
                "UPDATE corrections SET state = 'proposed', decided_by = NULL, decided_at = NULL, period = NULL, seq = NULL WHERE id = '{id}'"
            ),
            "R10",
            format!(
                "UPDATE corrections SET state = 'booked', decided_by = 'ana', decided_at = now(), period = 1, seq = 41 WHERE id = '{id}'"
            ),
        ),
    ];
    for (fault, check, back) in &faults {
        books.tamper(&change(fault)).await;
        let found = [books.verify(&Anchored::new()).await, books.reconcile(None).await].concat();
        assert!(
            found.iter().any(|one| one.starts_with(check)),
            "{fault}: {found:?}"
        );
        books.tamper(&change(back)).await;
        clean(&books).await;
    }
    books.close().await;
}
