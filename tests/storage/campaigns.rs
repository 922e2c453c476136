//! Campaigns, uploads and cancellations.

use bytes::Bytes;
use domain::campaign::{CampaignState, PauseReason, Standing};
use domain::category::Category;
use domain::ids::{CampaignId, TenantId};
use domain::message::MessageState;
use domain::recipient::Recipient;
use malote::api::upload::{FileFormat, RowReader, UploadRefused, add_stream};
use malote::storage::campaigns::{self, Moved};
use malote::storage::count_changes::{CountChanges, Writer};
use malote::storage::{recipients, suppressions};
use uuid::Uuid;

use crate::tenant::{TestTenant, phones, template};

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_an_upload_is_accounted_for() {
    let test = TestTenant::create().await;
    let campaign = test.draft().await;
    let opted_out: Recipient = "+5511900000003".parse().expect("a recipient");
    let mut transaction = test.rows.begin_for(test.tenant).await.expect("a transaction");
    suppressions::put(&mut transaction, test.tenant, &opted_out, "asked")
        .await
        .expect("stored");
    transaction.commit().await.expect("committed");
    let mut file = String::from("recipient,name\n");
    for phone in phones(0, 4_500).iter().chain(&phones(10, 5)) {
        file.push_str(&format!("{phone},Ana\n"));
    }
    file.push_str("nobody,Ana\n+5511977777777,\n");
    let pieces: Vec<_> = file
        .as_bytes()
        .chunks(1_000)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    let body = futures_util::stream::iter(pieces);
    let rows = RowReader::new(template());
    let report = add_stream(&test.rows, test.tenant, campaign, rows, FileFormat::Csv, body)
        .await
        .expect("read");
    assert_eq!(
        (
            report.accepted,
            report.suppressed,
            report.duplicates,
            report.rejected
        ),
        (4_499, 1, 5, 2)
    );
    assert_eq!(
        report.errors.iter().map(|error| error.row).collect::<Vec<_>>(),
        [4_506, 4_507]
    );
    let found = test.campaign(campaign).await;
    assert_eq!(found.counts[MessageState::Planned], 4_499);
    assert_eq!(found.counts.total(), 4_500);
    assert_eq!(found.category, Category::Marketing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_that_was_launched_takes_no_more_recipients() {
    let test = TestTenant::create().await;
    let campaign = test.draft().await;
    assert_eq!(test.add(campaign, &phones(0, 3)).await.accepted, 3);
    test.change(campaign, |standing| standing.launch(false)).await;
    let body = futures_util::stream::iter([Ok(Bytes::from_static(b"recipient,name\n+5511988887777,Ana\n"))]);
    let rows = RowReader::new(template());
    let refused = add_stream(&test.rows, test.tenant, campaign, rows, FileFormat::Csv, body).await;
    assert!(matches!(
        refused,
        Err(UploadRefused::NotDraft(CampaignState::Running))
    ));
    assert_eq!(test.campaign(campaign).await.counts.total(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_remembers_when_it_ran_and_why_it_paused() {
    let test = TestTenant::create().await;
    let campaign = test.draft().await;
    test.change(campaign, |standing| standing.launch(false)).await;
    test.change(campaign, |standing| standing.pause(PauseReason::Manual))
        .await;
    let paused = test.campaign(campaign).await;
    assert_eq!(paused.standing.reason, Some(PauseReason::Manual));
    assert!(paused.launched_at.is_some());
    test.change(campaign, Standing::resume).await;
    let resumed = test.campaign(campaign).await;
    assert_eq!(
        (resumed.standing.state, resumed.launched_at),
        (CampaignState::Running, paused.launched_at)
    );
    let again = test.change(campaign, |standing| standing.launch(false)).await;
    assert!(matches!(again, Moved::To { from, to } if from == to));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_moves_what_nobody_claimed_and_nothing_else() {
    let test = TestTenant::create().await;
    let campaign = test.draft().await;
    test.add(campaign, &phones(0, 2_300)).await;
    test.change(campaign, |standing| standing.launch(false)).await;
    queue_some(&test, campaign.0, 100).await;
    test.change(campaign, Standing::cancel).await;
    let moved = recipients::cancel_rows(&test.rows, test.tenant, campaign)
        .await
        .expect("moved");
    assert_eq!(moved, 2_300);
    let found = test.campaign(campaign).await;
    assert_eq!(found.counts[MessageState::Cancelled], 2_300);
    let again = recipients::cancel_rows(&test.rows, test.tenant, campaign)
        .await
        .expect("asked");
    assert_eq!(again, 0);
}

async fn queue_some(test: &TestTenant, campaign: Uuid, most: i64) {
    let mut transaction = test.system.begin().await.expect("a transaction");
    let queued = transaction
        .execute(
            "UPDATE messages SET state = 'queued', due_at = NULL, queued_at = now() WHERE tenant_id = $1 AND id IN (
                 SELECT id FROM messages WHERE tenant_id = $1 AND campaign_id = $2 LIMIT $3)",
            &[&test.tenant.0, &campaign, &most],
        )
        .await
        .expect("queued");
    let queued = i64::try_from(queued).expect("a small number");
    let campaign = CampaignId(campaign);
    let mut changes = CountChanges::default();
    changes.added(test.tenant, campaign, MessageState::Planned, -queued);
    changes.added(test.tenant, campaign, MessageState::Queued, queued);
    changes
        .write(&mut transaction, Writer::Planner)
        .await
        .expect("counted");
    transaction.commit().await.expect("committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_watchers_see_the_same_counts_and_other_tenants_see_nothing() {
    let test = TestTenant::create().await;
    let (older, newer) = (test.draft().await, test.draft().await);
    test.add(older, &phones(0, 7)).await;
    let mut transaction = test.rows.begin_for(test.tenant).await.expect("a transaction");
    let first = campaigns::list(&mut transaction, test.tenant, None, 1)
        .await
        .expect("listed");
    let second = campaigns::list(&mut transaction, test.tenant, Some(newer), 5)
        .await
        .expect("listed");
    transaction.commit().await.expect("committed");
    assert_eq!(first.iter().map(|found| found.id).collect::<Vec<_>>(), [newer]);
    assert_eq!(
        second
            .iter()
            .map(|found| (found.id, found.counts.total()))
            .collect::<Vec<_>>(),
        [(older, 7)]
    );
    let mut connection = test.system.get().await.expect("a connection");
    let progress = campaigns::progress(&mut connection, &[older])
        .await
        .expect("read");
    assert_eq!(progress[0].counts, second[0].counts);
    let stranger = TenantId(Uuid::now_v7());
    let mut transaction = test.rows.begin_for(stranger).await.expect("a transaction");
    assert!(
        campaigns::find(&mut transaction, test.tenant, older)
            .await
            .expect("asked")
            .is_none()
    );
    transaction.rollback().await.expect("rolled back");
}
