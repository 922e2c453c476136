//! The circuit breaker for Meta being down: closed, open, half open. While it is open nobody sends; from time to time a few
//! calls go out to see whether Meta is back. `now` counts nanoseconds from any fixed moment; jitter is an argument.

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;
/// The time over which outcomes are weighed.
pub const WINDOW_NS: u64 = 10 * SECOND;
/// Outcomes in the window below which their share says nothing.
pub const OUTCOMES_LEAST: u32 = 20;
/// The share of outcomes, in percent, at which Meta counts as down.
pub const ILL_PERCENT: u32 = 90;
/// Calls in a row without any answer of Meta at which it counts as down, however few there are.
pub const SILENT_IN_A_ROW: u32 = 8;
/// How long it stays open the first time.
pub const OPEN_FIRST_NS: u64 = SECOND;
/// How long it stays open at most, give or take the jitter.
pub const OPEN_LONGEST_NS: u64 = 30 * SECOND;
/// Calls that go out while it is half open.
pub const PROBES: u32 = 3;
/// How long the probes may take; then others go out as well. A probe may be lost with the tenant that got it, for instance when its
/// partition is handed over, and everybody waits for it meanwhile.
pub const PROBES_WITHIN_NS: u64 = 2 * SECOND;
/// Good service after which an opening counts as the first one again.
pub const FORGET_NS: u64 = 60 * SECOND;

/// What the outcome of a call says of Meta's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sign {
    /// Meta answered for itself, be it a refusal.
    Well,
    /// Meta says that it is down or overloaded.
    Ill,
    /// Nobody answered, or only a gateway did.
    Silent,
}

/// Where the breaker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// All may send.
    Closed,
    /// Nobody may.
    Open,
    /// A few calls find out.
    HalfOpen,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// Gives the name used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Outcomes since the beginning of a window.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    began: u64,
    all: u32,
    ill: u32,
}

/// One breaker.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    phase: Phase,
    /// Open: until when. Half open: until when the probes may take.
    until: u64,
    probes_left: u32,
    probes_well: u32,
    window: Window,
    silent: u32,
    openings: u32,
    closed_at: u64,
}

impl Breaker {
    /// Starts closed.
    pub const fn new(now: u64) -> Self {
        Self {
            phase: Phase::Closed,
            until: now,
            probes_left: 0,
            probes_well: 0,
            window: Window {
                began: now,
                all: 0,
                ill: 0,
            },
            silent: 0,
            openings: 0,
            closed_at: now,
        }
    }

    /// Gives how many of the wanted calls may go out. A call that is let out while the breaker is half open is a probe: its
    /// outcome is to be recorded, or [`Breaker::give_back`] be told that it did not go out.
    pub fn let_out(&mut self, now: u64, wanted: u64) -> u64 {
        match self.phase {
            Phase::Closed => wanted,
            Phase::Open | Phase::HalfOpen if now >= self.until => {
                if self.phase == Phase::Open {
                    self.probes_well = 0;
                }
                self.phase = Phase::HalfOpen;
                self.until = now + PROBES_WITHIN_NS;
                self.probes_left = PROBES;
                self.probe(wanted)
            }
            Phase::Open => 0,
            Phase::HalfOpen => self.probe(wanted),
        }
    }

    fn probe(&mut self, wanted: u64) -> u64 {
        let out = u64::from(self.probes_left).min(wanted);
        self.probes_left -= u32::try_from(out).unwrap_or(self.probes_left);
        out
    }

    /// Takes back calls that were let out and did not go out.
    pub fn give_back(&mut self, calls: u64) {
        if self.phase == Phase::HalfOpen {
            let calls = u32::try_from(calls).unwrap_or(PROBES);
            self.probes_left = (self.probes_left + calls).min(PROBES);
        }
    }

    /// Records the outcome of a call. `jitter` from 0 to 1 spreads the times at which nodes try again. Tells whether the breaker
    /// opened now.
    pub fn record(&mut self, now: u64, sign: Sign, jitter: f64) -> bool {
        match self.phase {
            Phase::Closed => {
                self.weigh(now, sign);
                self.is_down() && self.open(now, jitter)
            }
            Phase::HalfOpen if sign == Sign::Well => {
                self.probes_well += 1;
                if self.probes_well >= PROBES {
                    self.close(now);
                }
                false
            }
            Phase::HalfOpen => self.open(now, jitter),
            // Calls that were under way when it opened say nothing new.
            Phase::Open => false,
        }
    }

    fn weigh(&mut self, now: u64, sign: Sign) {
        if now.saturating_sub(self.window.began) >= WINDOW_NS {
            self.window = Window {
                began: now,
                ..Window::default()
            };
        }
        self.window.all += 1;
        self.window.ill += u32::from(sign != Sign::Well);
        self.silent = if sign == Sign::Silent { self.silent + 1 } else { 0 };
        if self.openings > 0 && now.saturating_sub(self.closed_at) >= FORGET_NS {
            self.openings = 0;
        }
    }

    const fn is_down(&self) -> bool {
        let window = &self.window;
        self.silent >= SILENT_IN_A_ROW
            || (window.all >= OUTCOMES_LEAST && window.ill * 100 >= window.all * ILL_PERCENT)
    }

    fn open(&mut self, now: u64, jitter: f64) -> bool {
        let doubled = OPEN_FIRST_NS.saturating_mul(1 << self.openings.min(16));
        let longest = doubled.min(OPEN_LONGEST_NS);
        // Between 80 and 120 per cent.
        let thousandths = 800 + (jitter.clamp(0.0, 1.0) * 400.0) as u64;
        self.until = now + longest / 1_000 * thousandths;
        self.phase = Phase::Open;
        self.openings = self.openings.saturating_add(1);
        self.silent = 0;
        true
    }

    const fn close(&mut self, now: u64) {
        self.phase = Phase::Closed;
        self.closed_at = now;
        self.silent = 0;
        self.window = Window {
            began: now,
            all: 0,
            ill: 0,
        };
    }

    /// Gives where it is.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Gives how many nanoseconds are left until calls may go out again, unless all may go out now.
    pub const fn wait(&self, now: u64) -> Option<u64> {
        match self.phase {
            Phase::Closed => None,
            Phase::Open => Some(self.until.saturating_sub(now)),
            Phase::HalfOpen => Some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(0);
        let opened = (0..SILENT_IN_A_ROW).filter(|_| breaker.record(0, Sign::Silent, 0.5));
        assert_eq!(opened.count(), 1);
        breaker
    }

    #[test]
    fn a_few_failures_among_answers_do_not_open_it() {
        let mut breaker = Breaker::new(0);
        for number in 0..1_000_u64 {
            let sign = if number % 5 == 0 { Sign::Well } else { Sign::Ill };
            assert!(!breaker.record(number * SECOND / 100, sign, 0.5));
        }
        assert_eq!(breaker.let_out(SECOND, 7), 7);
    }

    #[test]
    fn silence_opens_it_at_once_and_metas_own_word_at_a_high_share() {
        assert_eq!(opened().phase(), Phase::Open);
        let mut breaker = Breaker::new(0);
        let calls = (1..).find(|_| breaker.record(0, Sign::Ill, 0.5));
        assert_eq!(calls, Some(OUTCOMES_LEAST));
    }

    #[test]
    fn while_open_nobody_sends_then_a_few_and_then_all() {
        let mut breaker = opened();
        assert_eq!(breaker.let_out(OPEN_FIRST_NS - 1, 100), 0);
        assert_eq!(breaker.wait(0), Some(OPEN_FIRST_NS));
        assert_eq!(breaker.let_out(OPEN_FIRST_NS, 2), 2);
        assert_eq!(breaker.let_out(OPEN_FIRST_NS, 100), 1);
        assert_eq!(breaker.let_out(OPEN_FIRST_NS, 100), 0);
        (0..PROBES).for_each(|_| assert!(!breaker.record(OPEN_FIRST_NS, Sign::Well, 0.5)));
        assert_eq!(
            (breaker.phase(), breaker.let_out(OPEN_FIRST_NS, 100)),
            (Phase::Closed, 100)
        );
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_longer_and_one_that_is_lost_is_replaced() {
        let mut breaker = opened();
        breaker.let_out(OPEN_FIRST_NS, 1);
        assert!(breaker.record(OPEN_FIRST_NS, Sign::Ill, 0.5));
        assert_eq!(breaker.wait(OPEN_FIRST_NS), Some(2 * OPEN_FIRST_NS));
        let again = 3 * OPEN_FIRST_NS;
        assert_eq!(breaker.let_out(again, 100), u64::from(PROBES));
        assert_eq!(breaker.let_out(again + PROBES_WITHIN_NS, 100), u64::from(PROBES));
        breaker.give_back(1);
        assert_eq!(breaker.let_out(again + PROBES_WITHIN_NS, 100), 1);
    }

    #[test]
    fn lost_probes_do_not_keep_it_half_open() {
        let mut breaker = opened();
        let mut now = OPEN_FIRST_NS;
        for _ in 0..PROBES {
            // Of each lot, one answer is heard; the others got lost on their way.
            assert_eq!(breaker.let_out(now, 100), u64::from(PROBES));
            assert!(!breaker.record(now, Sign::Well, 0.5));
            now += PROBES_WITHIN_NS;
        }
        assert_eq!(breaker.phase(), Phase::Closed);
    }

    proptest! {
        /// While Meta is down, the calls grow with the logarithm of the time and never with the number of those who want to send.
        #[test]
        fn an_outage_costs_few_calls(jitters in proptest::collection::vec(0.0_f64..1.0, 200), step_ms in 1_u64..500) {
            let mut breaker = opened();
            let (mut calls, mut jitters) = (0, jitters.into_iter().cycle());
            for moment in (0..60_000).step_by(step_ms as usize) {
                let now = moment * SECOND / 1_000;
                let out = breaker.let_out(now, 1_000);
                calls += out;
                for _ in 0..out {
                    breaker.record(now, Sign::Silent, jitters.next().unwrap_or(0.5));
                }
            }
            prop_assert!(calls <= u64::from(PROBES) * 9, "{} calls in a minute", calls);
        }
    }
}
