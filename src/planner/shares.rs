//! Dividing each number's window between its campaigns and single messages.

use std::collections::BTreeMap;

use domain::ids::SenderId;

use crate::storage::planning::Source;

/// A window is filled up when this part of it is free; a trickle of tiny deliveries would cost more than it brings.
const REFILL: u32 = 8;

/// Decides how many messages each source may queue now. A number's window is what it sends in `window_ms`, at most `most`; what
/// is queued already is part of it; the rest is shared evenly.
pub(super) fn divide(sources: &[Source], window_ms: u64, most: u32) -> Vec<(Source, u32)> {
    let mut by_sender: BTreeMap<SenderId, Vec<&Source>> = BTreeMap::new();
    for source in sources {
        by_sender.entry(source.sender).or_default().push(source);
    }
    by_sender
        .values()
        .flat_map(|of_sender| share(of_sender, window_ms, most))
        .collect()
}

fn share(sources: &[&Source], window_ms: u64, most: u32) -> Vec<(Source, u32)> {
    let Some(first) = sources.first() else {
        return Vec::new();
    };
    let ahead = u64::from(first.messages_per_second) * window_ms / 1_000;
    let window = u32::try_from(ahead).unwrap_or(most).clamp(1, most);
    let room = window.saturating_sub(first.queued);
    if room == 0 || (room < window / REFILL && first.queued > 0) {
        return Vec::new();
    }
    let each = (room / u32::try_from(sources.len()).unwrap_or(u32::MAX)).max(1);
    sources
        .iter()
        .take(room as usize)
        .map(|source| ((*source).clone(), each))
        .collect()
}

#[cfg(test)]
mod tests {
    use domain::ids::{CampaignId, TenantId};
    use uuid::Uuid;

    use super::*;

    fn source(sender: u128, campaign: u128, messages_per_second: u32, queued: u32) -> Source {
        Source {
            tenant: TenantId(Uuid::nil()),
            sender: SenderId(Uuid::from_u128(sender)),
            campaign: Some(CampaignId(Uuid::from_u128(campaign))),
            messages_per_second,
            queued,
            only_canary: false,
            window: None,
        }
    }

    fn shares(sources: &[Source]) -> Vec<u32> {
        divide(sources, 2_000, 500)
            .into_iter()
            .map(|(_, share)| share)
            .collect()
    }

    #[test]
    fn a_window_is_two_seconds_of_the_rate_and_never_more_than_the_most() {
        assert_eq!(shares(&[source(1, 1, 80, 0)]), [160]);
        assert_eq!(shares(&[source(1, 1, 1_000, 0)]), [500]);
        assert_eq!(shares(&[source(1, 1, 80, 160)]), [] as [u32; 0]);
    }

    #[test]
    fn campaigns_of_one_number_share_and_other_numbers_are_untouched() {
        assert_eq!(
            shares(&[source(1, 1, 80, 0), source(1, 2, 80, 0), source(2, 3, 80, 0)]),
            [80, 80, 160]
        );
    }

    #[test]
    fn a_slow_number_still_gets_one() {
        assert_eq!(shares(&[source(1, 1, 1, 1)]), [1]);
        assert_eq!(
            shares(&[source(1, 1, 1, 0), source(1, 2, 1, 0), source(1, 3, 1, 0)]),
            [1, 1]
        );
    }
}
