//! The limit under pressure: 24 writers, two owners of one tenant, real rows. Each writer proposes all messages, in an order of its own,
//! as often as it is told that the ledger has moved on.

use std::collections::BTreeSet;
use std::time::Duration;

use actors::ports::{Claim, CommitError, Ledger as _, TenantCommit};
use domain::ids::{AttemptId, MessageId, TenantId};
use domain::partition::Epoch;
use malote::storage::anchors::Anchored;
use malote::storage::audit;
use malote::storage::committer::Committer;
use uuid::Uuid;

use crate::tenant::{TestTenant, phones};

const LIMIT: i64 = 1_000;
const MESSAGES: usize = 2_000;
/// Messages of one proposal: no divisor of the limit, so that the last one has to be cut.
const PROPOSED: usize = 37;
/// Writers of each owner.
const WRITERS: usize = 12;
/// Units that the first owner has reserved when the second one takes over.
const OVERTAKEN_AT: i64 = 300;
const FORMER: Epoch = Epoch(5);
const LATTER: Epoch = Epoch(6);

/// Somebody who believes to own the tenant.
struct Writer {
    committer: Committer,
    tenant: TenantId,
    epoch: Epoch,
    seq: i64,
}

impl Writer {
    /// Claims until all messages were proposed, or the tenant is somebody else's. Gives what it was told to send.
    async fn run(mut self, messages: Vec<MessageId>) -> Vec<MessageId> {
        let mut own = Vec::new();
        for proposed in messages.chunks(PROPOSED) {
            let Some(claimed) = self.claim(proposed).await else {
                return own;
            };
            own.extend(claimed);
        }
        own
    }

    async fn claim(&mut self, proposed: &[MessageId]) -> Option<Vec<MessageId>> {
        let claims: Vec<Claim> = proposed
            .iter()
            .map(|message| Claim {
                message: *message,
                attempt: AttemptId(Uuid::now_v7()),
            })
            .collect();
        loop {
            let work = TenantCommit {
                tenant: self.tenant,
                epoch: self.epoch,
                expected_seq: self.seq,
                claims: claims.clone(),
                deadline: Duration::from_secs(60),
                events: Vec::new(),
            };
            match self.committer.commit(work).await {
                Ok(committed) => {
                    self.seq = committed.head.seq;
                    return Some(committed.claimed.iter().map(|claimed| claimed.message).collect());
                }
                Err(CommitError::HeadMoved { head }) => self.seq = head.seq,
                Err(CommitError::EpochGone { .. }) => return None,
                // Another writer's part is in the same transaction.
                Err(CommitError::Unavailable(_)) => {}
                Err(CommitError::Broken(error)) => panic!("{error}"),
            }
        }
    }
}

/// A tenant with a hard plan, more queued messages than it allows, and two committers.
struct Contest {
    test: TestTenant,
    messages: Vec<MessageId>,
    committers: [Committer; 2],
}

impl Contest {
    async fn open() -> Self {
        let test = TestTenant::create().await;
        test.assign_plan(LIMIT).await;
        test.open_ledger().await;
        let campaign = test.draft().await;
        test.add(campaign, &phones(0, MESSAGES)).await;
        test.change(campaign, |standing| standing.launch(false)).await;
        let messages = test.queue_all().await;
        let committers = [(); 2].map(|()| Committer::start(test.system.clone()));
        Self {
            messages,
            test,
            committers,
        }
    }

    /// Lets an owner's writers begin, each at another place.
    fn begin(&self, owner: usize, epoch: Epoch) -> Vec<tokio::task::JoinHandle<Vec<MessageId>>> {
        let writers = (0..WRITERS).map(|number| {
            let writer = Writer {
                committer: self.committers[owner].clone(),
                tenant: self.test.tenant,
                epoch,
                seq: 0,
            };
            let mut messages = self.messages.clone();
            messages.rotate_left(number * MESSAGES / WRITERS);
            tokio::spawn(writer.run(messages))
        });
        writers.collect()
    }

    async fn count(&self, what: &str, from: &str) -> i64 {
        let tenant = self.test.tenant;
        let statement = format!("SELECT {what} FROM {from} AND tenant_id = '{tenant}'");
        let mut connection = self.test.system.get().await.expect("a connection");
        connection.count(&statement).await.expect("counted")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_owners_and_24_writers_reserve_exactly_the_limit() {
    let contest = Contest::open().await;
    let take_over = async |owner: usize, epoch| {
        contest.committers[owner]
            .take_over(contest.test.tenant, epoch)
            .await
    };
    take_over(0, FORMER).await.expect("the first owner");
    let mut writers = contest.begin(0, FORMER);
    while contest.count("count(*)", "ledger WHERE kind = 'reserve'").await < OVERTAKEN_AT {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    take_over(1, LATTER).await.expect("the second owner");
    writers.extend(contest.begin(1, LATTER));
    let (mut told, mut sent) = (0, BTreeSet::new());
    for writer in writers {
        let own = writer.await.expect("a writer does not panic");
        told += own.len();
        sent.extend(own);
    }

    assert_eq!(told, sent.len(), "nobody was told to send what another one sends");
    assert_eq!(i64::try_from(told).expect("few"), LIMIT);
    let counted = contest
        .count("sum(held)::bigint", "pool_counters WHERE true")
        .await;
    let claimed = contest
        .count("count(*)", "messages WHERE state = 'sending'")
        .await;
    assert_eq!((counted, claimed), (LIMIT, LIMIT));
    let last = contest.count("max(seq)", "ledger WHERE epoch = 5").await;
    let first = contest.count("min(seq)", "ledger WHERE epoch = 6").await;
    assert_eq!(last + 1, first, "no row of an epoch after one of a later epoch");
    println!("{last} rows by the first owner, {} by the second", LIMIT - last);
    let report = audit::verify(&contest.test.system, Some(contest.test.tenant), &Anchored::new()).await;
    let findings = report.expect("an answer").findings;
    let books: Vec<_> = findings
        .iter()
        .filter(|one| one.invariant.id.starts_with('I'))
        .collect();
    assert!(books.is_empty(), "{books:?}");
}
