//! The `modelswitch` binary: a gateway on this machine, and the operator's command line.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    modelswitch::run::run(std::env::args_os()).await
}
