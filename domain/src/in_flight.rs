//! How many messages of a number may be claimed and without an outcome at a time. It is the number that a crash can make
//! `unknown`: what is claimed leaves at once, so no more are `sending` than have permits or are on their way to Meta and back.

/// How much of a number's rate may be saved up, in milliseconds: the most permits that are spent at once.
pub const BURST_MS: u64 = 100;
/// How much of a number's rate may be on its way to Meta and back, in milliseconds. Slower answers than this slow the number.
pub const ON_THE_WAY_MS: u64 = 500;
/// Messages that may be on their way at least, however slow the number.
pub const ON_THE_WAY_LEAST: u64 = 4;
/// Room that campaigns leave to single messages.
pub const FOR_SINGLE_MESSAGES: u64 = 8;
/// Meta's highest rate of a number.
pub const RATE_MOST: u64 = 1_000;

/// Gives how many permits a number spends at once at most, at a rate in messages a second.
pub const fn burst_most(messages_per_second: u64) -> u64 {
    let burst = messages_per_second * BURST_MS / 1_000;
    if burst == 0 { 1 } else { burst }
}

/// Gives how many messages of campaigns may be between claim and outcome at a rate.
pub const fn bulk_in_flight_most(messages_per_second: u64) -> u64 {
    let on_the_way = messages_per_second * ON_THE_WAY_MS / 1_000;
    let on_the_way = if on_the_way < ON_THE_WAY_LEAST {
        ON_THE_WAY_LEAST
    } else {
        on_the_way
    };
    burst_most(messages_per_second) + on_the_way
}

/// Gives how many messages of a number may be between claim and outcome at a rate: the bound on what one crash can make
/// `unknown`, per number.
pub const fn in_flight_most(messages_per_second: u64) -> u64 {
    bulk_in_flight_most(messages_per_second) + FOR_SINGLE_MESSAGES
}

// 56 at the usual rate of 80 messages a second, 608 at the highest.
const _: () = assert!(in_flight_most(80) == 56 && in_flight_most(RATE_MOST) == 608);
// Calls of up to half a second let every number use its rate.
const _: () = assert!(bulk_in_flight_most(RATE_MOST) >= RATE_MOST * ON_THE_WAY_MS / 1_000);
const _: () = assert!(bulk_in_flight_most(1) == 1 + ON_THE_WAY_LEAST);
