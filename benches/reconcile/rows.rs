//! The rows of made-up messages: most are delivered and billed, some are free, fail, are tried twice, wait, or are never heard of again.

use std::fmt::Write as _;
use std::ops::Range;

use domain::audit_chain::{ChainHash, LedgerRow, fingerprint, genesis, hash_row};
use domain::ids::{AttemptId, TenantId};
use domain::ledger::{Account, LedgerKind};
use jiff::Timestamp;
use uuid::Uuid;

/// How many captured attempts are remembered.
const REMEMBERED: usize = 16;
/// Every so many messages one captured attempt is remembered.
const REMEMBERED_EVERY: usize = 97;

/// Lines in the text format of COPY.
#[derive(Default)]
pub(crate) struct Lines(String, usize);

impl Lines {
    /// How many there are.
    pub(crate) const fn lines(&self) -> usize {
        self.1
    }

    /// Gives them for COPY.
    pub(crate) fn into_text(self) -> String {
        self.0
    }

    fn add(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string never fails.
        let _ = writeln!(self.0, "{line}");
        self.1 += 1;
    }
}

/// The rows of some messages, by table.
#[derive(Default)]
pub(crate) struct Page {
    /// `ledger`.
    pub(crate) ledger: Lines,
    /// `messages`.
    pub(crate) messages: Lines,
    /// `message_attempts`.
    pub(crate) attempts: Lines,
    /// `events`.
    pub(crate) events: Lines,
}

/// What becomes of a message.
#[derive(Clone, Copy)]
enum Fate {
    Billed,
    Free,
    Failed,
    Expired,
    Waiting,
    BilledAtTheSecondTry,
}

impl Fate {
    const fn of(number: usize) -> Self {
        match number % 100 {
            0..2 => Self::BilledAtTheSecondTry,
            2..6 => Self::Free,
            6..10 => Self::Failed,
            10 => Self::Expired,
            11 => Self::Waiting,
            _ => Self::Billed,
        }
    }
}

/// Writes a tenant's rows.
pub(crate) struct Writer {
    tenant: TenantId,
    sender: Uuid,
    seq: i64,
    hash: ChainHash,
    at: Timestamp,
    counted: [i64; 5],
    captured: Vec<Uuid>,
}

impl Writer {
    /// Begins a tenant's books.
    pub(crate) fn new(tenant: TenantId) -> Self {
        let now = Timestamp::now().as_second();
        Self {
            tenant,
            sender: Uuid::now_v7(),
            seq: 0,
            hash: genesis(tenant),
            at: Timestamp::from_second(now - 10 * 86_400).unwrap_or_default(),
            counted: [0; 5],
            captured: Vec::new(),
        }
    }

    /// What the head must say.
    pub(crate) const fn head(&self) -> (i64, ChainHash) {
        (self.seq, self.hash)
    }

    /// What the counters must say: held, captured, free, voided, expired.
    pub(crate) const fn counted(&self) -> [i64; 5] {
        self.counted
    }

    /// Gives some attempts that were captured.
    pub(crate) fn some_captured(self) -> Vec<Uuid> {
        self.captured
    }

    /// Writes the rows of some messages.
    pub(crate) fn page(&mut self, numbers: Range<usize>) -> Page {
        let mut page = Page::default();
        for number in numbers {
            self.message(&mut page, number);
        }
        page
    }

    fn message(&mut self, page: &mut Page, number: usize) {
        let (tenant, message, fate) = (self.tenant, Uuid::now_v7(), Fate::of(number));
        let mut attempt = Uuid::now_v7();
        let mut tries = 1;
        self.reserve(page, attempt);
        if matches!(fate, Fate::BilledAtTheSecondTry) {
            self.fail(page, attempt, ("send", "\\N"));
            page.attempts.add(format_args!(
                "{tenant}\t{attempt}\t{message}\t1\tretry\ttry again later"
            ));
            (attempt, tries) = (Uuid::now_v7(), 2);
            self.reserve(page, attempt);
        }
        let wamid = format!("wamid.{}", message.simple());
        self.event(page, attempt, ("meta", "sent", &wamid, "\\N\t\\N"));
        let state = match fate {
            Fate::Billed | Fate::BilledAtTheSecondTry => {
                let proof = self.event(page, attempt, ("meta", "delivered", &wamid, "regular\tutility"));
                self.settle(page, attempt, LedgerKind::Capture, Some(proof));
                self.remember(number, attempt);
                "delivered"
            }
            Fate::Free => {
                let pricing = "free_customer_service\tutility";
                let proof = self.event(page, attempt, ("meta", "delivered", &wamid, pricing));
                self.settle(page, attempt, LedgerKind::Free, Some(proof));
                "delivered"
            }
            Fate::Failed => {
                self.fail(page, attempt, ("meta", &wamid));
                "failed"
            }
            Fate::Expired => {
                self.settle(page, attempt, LedgerKind::Expire, None);
                "sent"
            }
            Fate::Waiting => "sent",
        };
        page.messages.add(format_args!(
            "{tenant}\t{message}\t{}\t+3519{number:08}\tutility\t{{}}\t{state}\t{attempt}\t{tries}\t{wamid}",
            self.sender
        ));
    }

    fn remember(&mut self, number: usize, attempt: Uuid) {
        if number.is_multiple_of(REMEMBERED_EVERY) && self.captured.len() < REMEMBERED {
            self.captured.push(attempt);
        }
    }

    fn fail(&mut self, page: &mut Page, attempt: Uuid, (source, wamid): (&str, &str)) {
        let proof = self.event(page, attempt, (source, "failed", wamid, "\\N\t\\N"));
        self.settle(page, attempt, LedgerKind::Void, Some(proof));
    }

    /// Writes an applied event and gives its id.
    fn event(
        &mut self,
        page: &mut Page,
        attempt: Uuid,
        (source, status, wamid, pricing): (&str, &str, &str, &str),
    ) -> Uuid {
        let (tenant, id, at) = (self.tenant, Uuid::now_v7(), self.at);
        page.events.add(format_args!(
            "{tenant}\t{id}\t{source}\t{status}\t{attempt}\t{wamid}\t{at}\t{pricing}\t{at}"
        ));
        id
    }

    fn reserve(&mut self, page: &mut Page, attempt: Uuid) {
        self.counted[0] += 1;
        self.row(
            page,
            attempt,
            LedgerKind::Reserve,
            (Account::Available, Account::Held),
            None,
        );
    }

    fn settle(&mut self, page: &mut Page, attempt: Uuid, kind: LedgerKind, proof: Option<Uuid>) {
        let (counter, to) = match kind {
            LedgerKind::Capture => (1, Account::Used),
            LedgerKind::Free => (2, Account::Available),
            LedgerKind::Void => (3, Account::Available),
            _ => (4, Account::Available),
        };
        self.counted[0] -= 1;
        self.counted[counter] += 1;
        self.row(page, attempt, kind, (Account::Held, to), proof);
    }

    fn row(
        &mut self,
        page: &mut Page,
        attempt: Uuid,
        kind: LedgerKind,
        (debit, credit): (Account, Account),
        evidence: Option<Uuid>,
    ) {
        self.seq += 1;
        let row = LedgerRow {
            tenant: self.tenant,
            seq: self.seq,
            kind,
            attempt: Some(AttemptId(attempt)),
            period: 1,
            segment: 1,
            pool: "units".to_owned(),
            category: "utility".to_owned(),
            debit,
            credit,
            units: 1,
            micros: 0,
            currency: "BRL".to_owned(),
            evidence,
            epoch: 1,
            at_us: self.at.as_microsecond(),
        };
        self.hash = hash_row(&self.hash, &row);
        page.ledger.add(format_args!(
            "{}\t{}\t{}\t{attempt}\t1\t1\tunits\tutility\t{}\t{}\t1\t0\tBRL\t{}\t{}\t1\t{}\t{}",
            self.tenant,
            self.seq,
            kind.as_str(),
            debit.as_str(),
            credit.as_str(),
            evidence.map_or_else(|| "\\N".to_owned(), |id| id.to_string()),
            bytea(&fingerprint(&row)),
            self.at,
            bytea(&self.hash)
        ));
    }
}

/// Gives bytes as COPY takes them.
fn bytea(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(3 + bytes.len() * 2);
    text.push_str("\\\\x");
    for byte in bytes {
        // Writing to a string never fails.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
