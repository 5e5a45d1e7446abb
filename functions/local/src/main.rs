//! The `modelswitch` binary: a gateway on this machine, and the operator's command line.

use std::process::ExitCode;

/// The embedded database and its client make many small allocations: with this allocator a request takes a sixth less
/// processor time than with the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    modelswitch::run::run(std::env::args_os()).await
}
