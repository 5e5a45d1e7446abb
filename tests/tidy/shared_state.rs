//! What outlives a request in a function's process, and why a request that panics, or is given up at any `await`, can't
//! leave half a change in it. So a process goes on after a panic; were there state of another kind, it would have to end.

use std::collections::BTreeSet;

use crate::tree;

/// How state that requests share is written in Rust.
const SHARED: [&str; 8] =
    ["Mutex<", "RwLock<", "OnceLock<", "OnceCell<", "LazyLock<", "RefCell<", "Atomic", "watch::Sender<"];

/// Every place of it: the file, how it is written, and why it is whole at any moment.
const WHOLE: [(&str, &str, &str); 15] = [
    ("dashboard/src/assets.rs", "LazyLock<", "constants: making them can't fail"),
    ("dashboard/src/passwords.rs", "Atomic", "a count for tests: one number"),
    ("gateway-core/src/meter.rs", "LazyLock<", "constants: making them can't fail"),
    ("gateway-lambda/src/clock.rs", "watch::Sender<", "a test's clock: one number"),
    ("gateway-lambda/src/record.rs", "Mutex<", "one request's own: it is gone with it"),
    ("gateway-store/src/holds.rs", "Mutex<", "hints: a write's conditions tell whether one is right"),
    ("gateway-store/src/kept.rs", "Mutex<", "a value that is replaced whole, and the time of the last try"),
    ("gateway-store/src/https.rs", "LazyLock<", "a pool of connections: making it can't fail"),
    (
        "gateway-store/src/secrets.rs",
        "OnceCell<",
        "a client: there or not, and who panics while making it leaves it not there",
    ),
    ("gateway-tls/src/lib.rs", "LazyLock<", "constants and a file's certificates: who panics there reaches nobody"),
    ("gateway-upstream/src/client.rs", "Mutex<", "a set whose members say nothing of each other"),
    ("gateway-upstream/src/client.rs", "OnceLock<", "there or not: who panics while making it leaves it not there"),
    (
        "gateway-upstream/src/credentials.rs",
        "Mutex<",
        "holds nothing: it says that somebody fetches, and a panic frees it",
    ),
    ("gateway-upstream/src/credentials.rs", "RwLock<", "keys that are replaced whole by what was made before"),
    ("gateway-upstream/src/openid/mod.rs", "Mutex<", "what the provider says of itself, replaced whole"),
];

/// The ways in which `text` writes shared state, tests and `use` lines aside.
fn shared_in(text: &str) -> BTreeSet<&'static str> {
    let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines: Vec<_> = shipped.lines().map(str::trim_start).filter(|line| !line.starts_with("//")).collect();
    let word = |line: &str, way: &str| {
        line.match_indices(way).any(|(at, _)| !line[..at].ends_with(|before: char| before.is_alphanumeric()))
    };
    SHARED.into_iter().filter(|way| lines.iter().any(|line| !line.starts_with("use ") && word(line, way))).collect()
}

#[test]
fn all_state_that_outlives_a_request_is_known_to_be_whole_at_any_moment() {
    let own = |path: &str| {
        path.contains("/src/")
            && !["functions/local/", "functions/shared/catalogue-import/"].iter().any(|tool| path.starts_with(tool))
            && !path.ends_with("/tests.rs")
            // A provider for tests.
            && !path.ends_with("gateway-upstream/src/scripted.rs")
    };
    let mut found = BTreeSet::new();
    for (path, text) in tree::rust_sources("functions") {
        let path = path.to_str().unwrap();
        if own(path) {
            let short = path.trim_start_matches("functions/").trim_start_matches("shared/").to_owned();
            found.extend(shared_in(&text).into_iter().map(|way| (short.clone(), way)));
        }
    }
    let known: BTreeSet<_> = WHOLE.into_iter().map(|(file, way, _)| (file.to_owned(), way)).collect();
    assert_eq!(found, known, "say in this file why a panic can't spoil it");
}

#[test]
fn state_is_seen_where_it_is_declared_and_not_where_it_is_named() {
    assert_eq!(shared_in("struct A(Arc<std::sync::Mutex<u8>>);\n#[cfg(test)]\nstatic B: AtomicU8;"), ["Mutex<"].into());
    assert_eq!(shared_in("use x::{AtomicU8};\n// a Mutex<u8>\nstruct NonAtomic;"), BTreeSet::new());
    assert_eq!(shared_in("static COUNT: AtomicU64 = AtomicU64::new(0);"), ["Atomic"].into());
}
