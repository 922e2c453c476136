//! A sending window as one tenant's campaign has it: by each recipient's clock, or the tenant's where a number tells of none.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::period::{PeriodError, time_zone};
use crate::recipient_zone::zone_of;
use crate::sending_window::{Opening, SendingWindow, WindowZone};

/// A window with the zone of the tenant whose it is.
#[derive(Clone, Debug)]
pub struct LocalWindow {
    /// The hours and days.
    pub window: SendingWindow,
    tenant_zone: TimeZone,
    tenant_zone_name: String,
}

impl LocalWindow {
    /// Makes a window of a tenant in `zone`.
    ///
    /// # Errors
    /// When the zone is not in the IANA database.
    pub fn new(window: SendingWindow, zone: &str) -> Result<Self, PeriodError> {
        Ok(Self {
            window,
            tenant_zone: time_zone(zone)?,
            tenant_zone_name: zone.to_owned(),
        })
    }

    /// Tells whether a recipient, in canonical spelling, may be written to at `now`, and until when that stays so.
    pub fn at(&self, now: Timestamp, recipient: &str) -> Opening {
        match self.zone_name(recipient).map(TimeZone::get) {
            Some(Ok(zone)) => self.window.at(now, &zone),
            _ => self.window.at(now, &self.tenant_zone),
        }
    }

    /// Tells until when nobody at all may be written to; none while somebody may, or where each recipient has a clock of their own.
    pub fn closed_for_all_until(&self, now: Timestamp) -> Option<Timestamp> {
        if self.window.zone == WindowZone::Recipient {
            return None;
        }
        match self.window.at(now, &self.tenant_zone) {
            Opening::Open(_) => None,
            Opening::ClosedUntil(at) => Some(at),
        }
    }

    /// Gives the zone by whose clock a recipient is written to.
    pub fn zone_for(&self, recipient: &str) -> &str {
        self.zone_name(recipient).unwrap_or(&self.tenant_zone_name)
    }

    fn zone_name(&self, recipient: &str) -> Option<&'static str> {
        match self.window.zone {
            WindowZone::Recipient => zone_of(recipient),
            WindowZone::Tenant => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(zone: WindowZone) -> LocalWindow {
        let window = SendingWindow::new("09:00", "20:00", None::<&[&str]>, zone).expect("a window");
        LocalWindow::new(window, "Europe/Lisbon").expect("a zone")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    #[test]
    fn each_recipient_has_a_clock_and_who_has_none_the_tenants() {
        let (ours, now) = (window(WindowZone::Recipient), at("2026-07-01T10:00:00Z"));
        assert!(matches!(ours.at(now, "+351910000000"), Opening::Open(_)));
        assert_eq!(
            ours.at(now, "+13105550123"),
            Opening::ClosedUntil(at("2026-07-01T16:00:00Z"))
        );
        assert!(matches!(ours.at(now, "ZZ.1"), Opening::Open(_)));
        assert_eq!(ours.zone_for("ZZ.1"), "Europe/Lisbon");
        assert_eq!(ours.closed_for_all_until(at("2026-07-01T02:00:00Z")), None);
    }

    #[test]
    fn by_the_tenants_clock_it_is_closed_for_all_at_once() {
        let (ours, night) = (window(WindowZone::Tenant), at("2026-07-01T02:00:00Z"));
        assert_eq!(ours.closed_for_all_until(night), Some(at("2026-07-01T08:00:00Z")));
        assert!(matches!(
            ours.at(at("2026-07-01T10:00:00Z"), "+13105550123"),
            Opening::Open(_)
        ));
    }
}
