//! What holds for every file: sizes, openings, words that must not be there, and no token anywhere.

use std::path::{Path, PathBuf};

use crate::tree;

/// Lines of a Rust file, at most. (A function's are counted by clippy's `too_many_lines`.)
const MOST_LINES: usize = 500;

/// Promises of work that is not there. In halves, so that this file does not hold them.
const PROMISES: [&str; 4] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

/// What stands in no Rust file, and why.
const REFUSED: [(&str, &str); 4] = [
    (concat!("#[", "ignore"), "a test that is not run proves nothing"),
    (concat!("#[", "allow("), "use #[expect(lint, reason = \"…\")], which complains when it is no longer needed"),
    (concat!("#![", "allow("), "use #[expect(lint, reason = \"…\")], which complains when it is no longer needed"),
    (concat!("fn ", "get_"), "say what is found, not that it is got"),
];

/// File names that say nothing.
const VAGUE: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "misc", "manager"];

/// The length of a token after its prefix, and how many of its characters are shown.
const TOKEN_TAIL: usize = 38;

fn sources() -> Vec<(PathBuf, String)> {
    [tree::rust_sources("functions"), tree::rust_sources("tests")].concat()
}

/// Whether the text holds something of a token's form.
fn holds_a_token(text: &str) -> bool {
    ["ms-", "mk-"].iter().any(|prefix| {
        text.split(prefix).skip(1).any(|tail| tail.bytes().take_while(u8::is_ascii_alphanumeric).count() >= TOKEN_TAIL)
    })
}

#[test]
fn no_rust_file_is_longer_than_a_reader_can_hold() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= MOST_LINES, "{} has {lines} lines", path.display());
    }
}

#[test]
fn every_rust_file_opens_with_what_it_is() {
    // A `tests.rs` beside a module is that module's.
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.ends_with("tests.rs")) {
        assert!(text.starts_with("//! "), "{} does not open with //!", path.display());
    }
}

#[test]
fn no_file_promises_work_that_is_not_there() {
    for path in tree::files("") {
        let Ok(text) = std::fs::read_to_string(tree::root().join(&path)) else { continue };
        for word in PROMISES {
            assert!(
                !text.split(|c: char| !c.is_alphanumeric()).any(|found| found == word),
                "{}: {word}",
                path.display()
            );
        }
    }
}

#[test]
fn no_rust_file_holds_what_is_refused() {
    for (path, text) in sources() {
        for (word, reason) in REFUSED {
            assert!(!text.contains(word), "{}: {word}: {reason}", path.display());
        }
    }
}

#[test]
fn no_api_test_sleeps() {
    for (path, text) in tree::rust_sources("tests/api") {
        assert!(!text.contains("sleep("), "{}: wait for what is to happen, not for time", path.display());
    }
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    for path in [tree::files("functions"), tree::files("tests")].concat() {
        let names = path.iter().filter_map(|part| Path::new(part).file_stem()?.to_str());
        for name in names {
            assert!(!VAGUE.contains(&name), "{}: {name} says nothing", path.display());
        }
    }
}

#[test]
fn no_file_holds_a_token() {
    let made_up = format!("mk-{}", "0".repeat(TOKEN_TAIL));
    assert!(holds_a_token(&format!("Bearer {made_up}.")) && !holds_a_token("Bearer mk-not-a-key"));
    for path in tree::files("") {
        let Ok(text) = std::fs::read_to_string(tree::root().join(&path)) else { continue };
        assert!(!holds_a_token(&text), "{} holds what could be a token", path.display());
    }
}
