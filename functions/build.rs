//! How every function's binary is linked: at a fixed address, as Go's linker does it.
//!
//! A binary that may lie anywhere has a table of all the addresses in its data, and each start reads the table and writes
//! as many before `main`: for chat-completions 40,000, over 1.5 MB, which was a fifth of the time until it was ready. Stack,
//! heap and libraries still lie anywhere.

#[expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts through the environment")]
fn main() {
    println!("cargo::rerun-if-changed=../build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
