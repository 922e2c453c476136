//! Lists and single letters, for people and for machines. Recipients are left to the tenant's own API.

use std::process::ExitCode;

use domain::dead_letter::{Replay, advice_of, class_of, replay_of};
use domain::ids::MessageId;
use domain::meta_error::ErrorClass;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::storage::Database;
use crate::storage::dead_letters::{self, Letter, LetterFilter, PastAction};
use crate::storage::messages::{self, Happening};

pub(super) async fn list(
    database: &Database,
    filter: &LetterFilter,
    limit: i64,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let mut connection = database.get().await?;
    let letters = dead_letters::list(&mut connection, filter, None, limit).await?;
    if as_json {
        letters.iter().for_each(|letter| println!("{}", json_of(letter)));
        return Ok(ExitCode::SUCCESS);
    }
    if letters.is_empty() {
        println!("no dead letters");
    } else {
        println!(
            "{:<36}  {:<18}  {:<20}  {:<36}  last error",
            "id", "kind", "dead since", "tenant"
        );
    }
    for letter in &letters {
        println!(
            "{:<36}  {:<18}  {:<20}  {:<36}  {}",
            letter.id,
            letter.kind.as_str(),
            format!("{:.0}", letter.dead_since),
            letter
                .tenant
                .map_or_else(|| "-".to_owned(), |tenant| tenant.to_string()),
            error_line(letter)
        );
    }
    if i64::try_from(letters.len())? == limit {
        println!("there may be more: --limit {}", limit.saturating_mul(2));
    }
    Ok(ExitCode::SUCCESS)
}

fn error_line(letter: &Letter) -> String {
    let code = letter
        .error_code
        .map(|code| format!("{code} "))
        .unwrap_or_default();
    format!("{code}{}", letter.error.as_deref().unwrap_or("no connection"))
}

pub(super) async fn one(database: &Database, id: Uuid, as_json: bool) -> anyhow::Result<ExitCode> {
    let mut connection = database.get().await?;
    let Some(letter) = dead_letters::find(&mut connection, None, id).await? else {
        eprintln!("malote: there is no dead letter {id}, or no longer");
        return Ok(ExitCode::FAILURE);
    };
    let actions = dead_letters::actions_on(&mut connection, &letter).await?;
    drop(connection);
    let timeline = timeline_of(database, &letter).await?;
    if as_json {
        let mut whole = json_of(&letter);
        whole["timeline"] = timeline.iter().map(json_of_happening).collect();
        whole["actions"] = actions.iter().map(json_of_action).collect();
        println!("{whole}");
    } else {
        print(&letter, &timeline, &actions);
    }
    Ok(ExitCode::SUCCESS)
}

async fn timeline_of(database: &Database, letter: &Letter) -> anyhow::Result<Vec<Happening>> {
    let Some(tenant) = letter.tenant else {
        return Ok(Vec::new());
    };
    let mut transaction = database.begin_for(tenant).await?;
    let timeline = messages::timeline(&mut transaction, tenant, MessageId(letter.id)).await?;
    transaction.rollback().await?;
    Ok(timeline)
}

fn print(letter: &Letter, timeline: &[Happening], actions: &[PastAction]) {
    let line = |name: &str, value: &str| println!("{name:<12} {value}");
    line("letter", &letter.id.to_string());
    line("kind", letter.kind.as_str());
    line("dead since", &format!("{:.0}", letter.dead_since));
    for (name, id) in [
        ("tenant", letter.tenant.map(|id| id.to_string())),
        ("campaign", letter.campaign.map(|id| id.to_string())),
        ("event", letter.event.map(|id| id.to_string())),
        ("queue", letter.queue.clone()),
    ] {
        id.iter().for_each(|id| line(name, id));
    }
    if let Some(class) = class_of(letter.kind, letter.error_code) {
        line("class", class.as_str());
        line("attempts", &letter.attempts.to_string());
    }
    line("last error", &error_line(letter));
    line("advice", advice_of(letter.kind, letter.error_code));
    line("replay", &replay_line(letter));
    for happening in timeline {
        let reason = happening.reason.as_deref().unwrap_or_default();
        println!(
            "  {:.0}  {} {} {reason}",
            happening.at, happening.source, happening.status
        );
    }
    for past in actions {
        println!(
            "  {:.0}  {} by {}: {}",
            past.at, past.action, past.by, past.reason
        );
    }
}

fn replay_line(letter: &Letter) -> String {
    match replay_of(letter.kind, letter.error_code) {
        Replay::Safe => format!("safe: malote dead-letters replay --id {} --by NAME", letter.id),
        Replay::Forced(because) => format!("only with --force: {because}"),
    }
}

fn json_of(letter: &Letter) -> Value {
    json!({
        "id": letter.id,
        "kind": letter.kind.as_str(),
        "tenant_id": letter.tenant.map(|id| id.0),
        "campaign_id": letter.campaign.map(|id| id.0),
        "event_id": letter.event.map(|id| id.0),
        "queue": letter.queue,
        "attempts": letter.attempts,
        "error_code": letter.error_code,
        "class": class_of(letter.kind, letter.error_code).map(ErrorClass::as_str),
        "error": letter.error,
        "advice": advice_of(letter.kind, letter.error_code),
        "safe_to_replay": replay_of(letter.kind, letter.error_code) == Replay::Safe,
        "dead_since": letter.dead_since,
    })
}

fn json_of_happening(happening: &Happening) -> Value {
    json!({
        "at": happening.at, "source": happening.source, "status": happening.status,
        "error_code": happening.error_code, "reason": happening.reason,
    })
}

fn json_of_action(past: &PastAction) -> Value {
    json!({"at": past.at, "action": past.action, "by": past.by, "reason": past.reason, "forced": past.forced})
}
