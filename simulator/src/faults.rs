//! What goes wrong, and how often: the fault plan, settable at start and at run time.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::recipients;

/// The fault plan. All zeros means a perfect service. Shares go from 0 to 1 and are decided by
/// seed, recipient and attempt, so a run can be repeated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Calls answered with a transient Graph error: 131000, 131016 or 2, HTTP 500 or 503. Nothing is sent.
    pub transient_error_share: f64,
    /// The first so many calls for each recipient get a transient error.
    pub transient_first_attempts: u32,
    /// Calls refused with `refused_code`. Nothing is sent.
    pub refused_share: f64,
    /// The error code of those; 131000 unless set.
    pub refused_code: Option<u32>,
    /// Seconds that errors ask to wait in `Retry-After`; 0 sends no such header.
    pub retry_after_s: u64,
    /// Minutes that errors tell in `X-Business-Use-Case-Usage` until access is regained; 0 sends no such header.
    pub regain_access_min: u64,
    /// Calls answered with a gateway's HTML page, HTTP 502. Nothing is sent.
    pub non_json_share: f64,
    /// Calls accepted and sent whose answer is lost: the connection closes without one.
    pub lost_answer_share: f64,
    /// How long a connection with a lost answer stays open; longer than a client's timeout makes it time out.
    pub lost_answer_hold_ms: u64,
    /// The least time an answer takes.
    pub answer_delay_min_ms: u64,
    /// The median time an answer takes.
    pub answer_delay_ms: u64,
    /// The time only one answer in a hundred exceeds; a log-normal tail. Not above the median means no tail.
    pub answer_delay_p99_ms: u64,
    /// A burst of throttling starts this often; 0 means never.
    pub throttle_every_ms: u64,
    /// How long every call to every number is answered with 130429 in such a burst.
    pub throttle_for_ms: u64,
    /// HTTP status of 130429 and 131056; 429 unless set. The field reports 400 too.
    pub throttle_http_status: Option<u16>,
    /// Recipients refused with 131026 at once; digits decide for phone numbers.
    pub refused_recipients: BTreeSet<String>,
    /// Accepted messages that fail afterwards, with a `failed` webhook.
    pub failed_share: f64,
    /// The error code of those; 131026 unless set.
    pub failed_code: Option<u32>,
    /// Delivered messages that Meta does not charge for.
    pub free_share: f64,
    /// Read messages whose `delivered` never comes: `read` implies it and carries the price.
    pub read_without_delivered_share: f64,
    /// Statuses sent a second time.
    pub duplicated_webhook_share: f64,
    /// How much later the second time is; 50 ms unless set.
    pub duplicated_webhook_after_ms: Option<u64>,
    /// Messages whose `delivered` arrives before their `sent`.
    pub reordered_webhook_share: f64,
    /// Statuses lost at first and sent late, with the time at which they happened.
    pub late_webhook_share: f64,
    /// How late those are; 1,000 ms unless set.
    pub late_webhook_ms: Option<u64>,
    /// Statuses that leave their batch and come in a request of their own.
    pub split_webhook_share: f64,
}

impl Faults {
    /// Names the first value that makes no sense.
    pub(crate) fn check(&self) -> Result<(), String> {
        let shares = [
            ("transient_error_share", self.transient_error_share),
            ("refused_share", self.refused_share),
            ("non_json_share", self.non_json_share),
            ("lost_answer_share", self.lost_answer_share),
            ("failed_share", self.failed_share),
            ("free_share", self.free_share),
            ("read_without_delivered_share", self.read_without_delivered_share),
            ("duplicated_webhook_share", self.duplicated_webhook_share),
            ("reordered_webhook_share", self.reordered_webhook_share),
            ("late_webhook_share", self.late_webhook_share),
            ("split_webhook_share", self.split_webhook_share),
        ];
        if let Some((name, share)) = shares.into_iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            return Err(format!("{name} must be from 0 to 1, not {share}"));
        }
        match self.throttle_http_status {
            Some(status) if !(400..600).contains(&status) => Err(format!(
                "throttle_http_status must be from 400 to 599, not {status}"
            )),
            _ => Ok(()),
        }
    }

    /// The same plan with recipients written as the simulator compares them.
    pub(crate) fn normalised(mut self) -> Self {
        self.refused_recipients = self
            .refused_recipients
            .iter()
            .map(|to| recipients::name_of(to))
            .collect();
        self
    }

    /// Says whether a periodic burst of throttling is on, `now_ms` after the start.
    pub(crate) fn throttles_at(&self, now_ms: u64) -> bool {
        now_ms
            .checked_rem(self.throttle_every_ms)
            .is_some_and(|into| into < self.throttle_for_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_above_one_and_an_unknown_key_are_refused() {
        let faults = Faults {
            free_share: 1.5,
            ..Faults::default()
        };
        assert_eq!(
            faults.check().expect_err("too large a share"),
            "free_share must be from 0 to 1, not 1.5"
        );
        assert!(toml::from_str::<Faults>("fre_share = 0.5").is_err());
        assert_eq!(
            toml::from_str::<Faults>("free_share = 0.5")
                .expect("a plan")
                .free_share,
            0.5
        );
    }

    #[test]
    fn bursts_come_and_go() {
        let faults = Faults {
            throttle_every_ms: 1_000,
            throttle_for_ms: 200,
            ..Faults::default()
        };
        assert!(faults.throttles_at(100) && !faults.throttles_at(300) && faults.throttles_at(1_100));
        assert!(!Faults::default().throttles_at(0));
    }
}
