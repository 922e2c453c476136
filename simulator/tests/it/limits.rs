//! Pace: per number, per pair, in bursts.

use std::time::Duration;

use simulator::{Config, Faults};

use crate::support::{Bench, NUMBER};

#[tokio::test]
async fn a_number_over_its_rate_is_throttled_until_it_is_raised() {
    let bench = Bench::start(Config {
        number_rate: 2,
        ..Config::for_tests()
    })
    .await;
    let mut codes = Vec::new();
    for n in 0..8 {
        let answer = bench.send(&format!("1650555{n:04}")).await;
        codes.push(if answer.status == 200 { 0 } else { answer.code() });
        if answer.status != 200 {
            assert_eq!(
                (answer.status, &answer.json()["error"]["is_transient"]),
                (429, &true.into())
            );
        }
    }
    assert_eq!(codes[..2], [0; 2]);
    assert!(codes[2..].contains(&130429), "{codes:?}");
    assert_eq!(
        bench.simulator.truth().throttled,
        codes.iter().filter(|&&code| code == 130429).count() as u64
    );
    bench.simulator.set_number_rate(NUMBER, 0);
    for n in 0..20 {
        assert_eq!(bench.send(&format!("1650555{n:04}")).await.status, 200);
    }
}

#[tokio::test]
async fn a_pair_over_its_rate_is_throttled_and_others_are_not() {
    let bench = Bench::start(Config {
        pair_burst: 3,
        number_rate: 0,
        ..Config::for_tests()
    })
    .await;
    for _ in 0..3 {
        assert_eq!(bench.send("16505551234").await.status, 200);
    }
    let refused = bench.send("+16505551234").await;
    assert_eq!((refused.status, refused.code()), (429, 131056));
    assert_eq!(bench.send("16505559999").await.status, 200);
    assert_eq!(bench.simulator.truth().most_accepted_for_one_recipient, 3);
}

#[tokio::test]
async fn a_throttle_burst_refuses_everything_with_the_status_of_choice() {
    let faults = Faults {
        throttle_http_status: Some(400),
        ..Faults::default()
    };
    let bench = Bench::start(Config {
        faults,
        ..Config::for_tests()
    })
    .await;
    bench.simulator.throttle_for(Duration::from_secs(60));
    let refused = bench.send("16505551234").await;
    assert_eq!((refused.status, refused.code()), (400, 130429));
    bench.simulator.throttle_for(Duration::ZERO);
    assert_eq!(bench.send("16505551234").await.status, 200);
}
