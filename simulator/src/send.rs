//! `POST /{phone number id}/messages`: checks, limits, faults, acceptance.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::acceptances::tenths_of_ms;
use crate::catalog::GraphError;
use crate::check::{self, Request, Send};
use crate::dice::{Dice, Question};
use crate::faults::Faults;
use crate::gcra::Quota;
use crate::messages::Message;
use crate::plan::{self, Fate};
use crate::recipients::{self, RecipientIndex};
use crate::shared::Shared;
use crate::state::State;
use crate::wamid;

/// What the connection does with a call.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Answers 200 with this body.
    Answer(Vec<u8>),
    /// Answers an error.
    Error(GraphError),
    /// Answers as a gateway in front of the service would.
    Gateway,
    /// Closes the connection without an answer.
    Lost,
}

/// A call that was decided under the lock.
struct Decision {
    fate: Fate,
    index: u32,
    run: u32,
    delay: Duration,
    hold: Duration,
}

/// Handles one call, answer delay included.
pub(crate) async fn send(shared: &Shared, number_id: &str, body: &Bytes) -> Outcome {
    let Some(number) = shared.state().numbers.find(number_id) else {
        return refuse(shared, GraphError::no_object(number_id));
    };
    let send = match check::check(body, &shared.templates) {
        Ok(Request::Send(send)) => send,
        Ok(Request::MarkRead) => return Outcome::Answer(br#"{"success":true}"#.to_vec()),
        Err(error) => return refuse(shared, error),
    };
    let decision = match decide(shared, number, &send) {
        Ok(decision) => decision,
        Err(error) => return Outcome::Error(error.with_waits(&shared.state().faults)),
    };
    if !decision.delay.is_zero() {
        tokio::time::sleep(decision.delay).await;
    }
    match decision.fate {
        Fate::Accepted { lost: true } => {
            tokio::time::sleep(decision.hold).await;
            Outcome::Lost
        }
        Fate::Accepted { lost: false } => Outcome::Answer(accepted(&send, decision.run, decision.index)),
        Fate::Refused(error) => Outcome::Error(error.with_waits(&shared.state().faults)),
        Fate::Gateway => Outcome::Gateway,
    }
}

/// Counts a refusal for good.
pub(crate) fn refuse(shared: &Shared, error: GraphError) -> Outcome {
    shared.state().truth.refused += 1;
    Outcome::Error(error)
}

/// Limits first, since they depend on the clock; then the plan, which must not.
fn decide(shared: &Shared, number: u32, send: &Send<'_>) -> Result<Decision, GraphError> {
    let (now_ns, now_ms) = (shared.now_ns(), shared.now_ms());
    let mut guard = shared.state();
    let state = &mut *guard;
    let recipient = state.recipients.intern(&send.name);
    throttle(shared, state, number, recipient, now_ns, now_ms)?;
    let faults = state.faults.clone();
    let attempt = state.recipients.at(recipient).attempts;
    state.recipients.at_mut(recipient).attempts += 1;
    let dice = Dice::new(shared.config.seed, &send.name, attempt);
    let fate = plan::fate(&faults, dice, &send.name, attempt);
    count(state, &fate);
    let mut wake = false;
    let index = state.messages.len() as u32;
    if let Fate::Accepted { .. } = fate {
        take_pair(shared, state, number, recipient, now_ns);
        wake = accept(
            shared,
            state,
            send,
            Message::new(
                recipient,
                number,
                send.category,
                tenths_of_ms(Duration::from_nanos(now_ns)),
            ),
            &faults,
            dice,
            now_ms,
        );
    }
    let (run, delay) = (state.run, plan::answer_delay(&faults, dice));
    drop(guard);
    if wake {
        shared.wake.notify_one();
    }
    Ok(Decision {
        fate,
        index,
        run,
        delay,
        hold: Duration::from_millis(faults.lost_answer_hold_ms),
    })
}

fn throttle(
    shared: &Shared,
    state: &mut State,
    number: u32,
    recipient: RecipientIndex,
    now_ns: u64,
    now_ms: u64,
) -> Result<(), GraphError> {
    if state.numbers.at(number).restricted {
        state.truth.refused += 1;
        return Err(GraphError::new(
            131048,
            "Message failed to send because there are restrictions on how many messages can be sent from this phone number.",
        ));
    }
    let in_burst = now_ms < state.throttled_until_ms || state.faults.throttles_at(now_ms);
    let error = if in_burst || !state.numbers.at_mut(number).take(now_ns) {
        GraphError::new(130429, "Cloud API message throughput has been reached.")
    } else if !pair_fits(shared, state, number, recipient, now_ns) {
        GraphError::new(
            131056,
            "Too many messages sent from this phone number to the same phone number in a short period of time.",
        )
    } else {
        return Ok(());
    };
    state.truth.throttled += 1;
    Err(error.with_status(state.faults.throttle_http_status))
}

fn pair_quota(shared: &Shared) -> Quota {
    Quota::every(shared.config.pair_interval, shared.config.pair_burst)
}

fn pair_fits(shared: &Shared, state: &State, number: u32, recipient: RecipientIndex, now_ns: u64) -> bool {
    let pair = state.pairs.get(&(number, recipient));
    pair.is_none_or(|pair| pair.fits(now_ns, pair_quota(shared)))
}

fn take_pair(shared: &Shared, state: &mut State, number: u32, recipient: RecipientIndex, now_ns: u64) {
    if !shared.config.pair_interval.is_zero() {
        state
            .pairs
            .entry((number, recipient))
            .or_default()
            .take(now_ns, pair_quota(shared));
    }
}

fn count(state: &mut State, fate: &Fate) {
    let truth = &mut state.truth;
    match fate {
        Fate::Accepted { lost } => {
            truth.accepted += 1;
            truth.lost_answers += u64::from(*lost);
        }
        Fate::Refused(error) if error.code == 131026 => truth.refused += 1,
        Fate::Refused(_) | Fate::Gateway => truth.transient_errors += 1,
    }
}

/// Stores the message and plans its webhooks. True if the dispatcher must wake for them.
fn accept(
    shared: &Shared,
    state: &mut State,
    send: &Send<'_>,
    mut message: Message,
    faults: &Faults,
    dice: Dice,
    now_ms: u64,
) -> bool {
    let recipient = state.recipients.at_mut(message.recipient);
    recipient.accepted += 1;
    let most = &mut state.truth.most_accepted_for_one_recipient;
    *most = (*most).max(recipient.accepted);
    let failure = plan::failure(faults, dice);
    let index = state.messages.len() as u32;
    let events = plan::events(&shared.config, faults, dice, index, now_ms, failure.is_some());
    message.free = dice.says(Question::Free, faults.free_share);
    message.failed_code = failure.unwrap_or(0);
    message.opaque = send.opaque.as_deref().map(Into::into);
    message.pending = events.len() as u8;
    state.messages.push(message);
    events
        .into_iter()
        .fold(false, |wake, event| state.queue.push(event) | wake)
}

#[derive(Serialize)]
struct Accepted<'a> {
    messaging_product: &'a str,
    contacts: [Contact<'a>; 1],
    messages: [AcceptedMessage; 1],
}

#[derive(Serialize)]
struct Contact<'a> {
    input: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    wa_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
}

#[derive(Serialize)]
struct AcceptedMessage {
    id: String,
    message_status: &'static str,
}

fn accepted(send: &Send<'_>, run: u32, index: u32) -> Vec<u8> {
    let is_user_id = recipients::is_user_id(&send.name);
    let contact = Contact {
        input: &send.input,
        wa_id: (!is_user_id).then_some(&send.name),
        user_id: is_user_id.then_some(&send.name),
    };
    let message = AcceptedMessage {
        id: wamid::write(&send.name, run, index),
        message_status: "accepted",
    };
    let answer = Accepted {
        messaging_product: "whatsapp",
        contacts: [contact],
        messages: [message],
    };
    serde_json::to_vec(&answer).unwrap_or_default()
}
