//! What a page of the dashboard costs: over HTTP, for an account with keys and usage, warm.

use std::time::Duration;

use gateway_core::token::KeyType;
use support::TestGateway;

use crate::{
    now,
    sample::{Sample, median},
};

const ROUNDS: usize = 9;
const VISITS: usize = 50;
const KEYS: usize = 20;
const REQUESTS: usize = 500;

/// The pages that are looked at; the last needs no database and nobody who is signed in.
const PAGES: [&str; 7] = [
    "/dashboard",
    "/dashboard/keys",
    "/dashboard/billing",
    "/dashboard/usage",
    "/dashboard/models",
    "/dashboard/quick-start",
    SIGN_IN,
];
const SIGN_IN: &str = "/dashboard/sign-in";

/// Measures and prints the table.
pub(crate) fn run() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let gateway = TestGateway::start().await;
        for _ in 0..KEYS {
            gateway.key(KeyType::Proxy, |_| {}).await;
        }
        for _ in 0..REQUESTS {
            let answer = gateway.proxy.post("/v1/chat/completions", &TestGateway::chat("lab/chat")).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        gateway.gateway.rollup().await;
        let (browser, stranger) = (gateway.signed_in().await, gateway.browser());
        let mut samples: [Vec<Sample>; PAGES.len()] = Default::default();
        let mut sizes = [0; PAGES.len()];
        for round in 0..=ROUNDS {
            for (at, page) in PAGES.iter().enumerate() {
                let browser = if *page == SIGN_IN { &stranger } else { &browser };
                let mut times = Vec::with_capacity(VISITS);
                let began = now();
                for _ in 0..VISITS {
                    let began = now();
                    let answer = browser.get(page).await;
                    times.push(began.elapsed());
                    assert_eq!(answer.status, 200, "{page}: {}", answer.text);
                    sizes[at] = answer.text.len();
                }
                if round > 0 {
                    samples[at].push(Sample::of(times, began.elapsed()));
                }
            }
        }
        println!("| a page of the dashboard, warm | p50 | p99 | HTML |");
        println!("|---|--:|--:|--:|");
        for ((page, samples), size) in PAGES.iter().zip(&samples).zip(sizes) {
            let of = |percent| median(samples.iter().map(|sample| sample.percentile_ms(percent)));
            println!("| `{page}` | {:.2} ms | {:.2} ms | {} KB |", of(50), of(99), size / 1000);
        }
        println!();
        gateway.gateway.stop(Duration::from_secs(1)).await;
    });
}
