//! The binaries, built as they are for deployment.

use std::{
    env::consts::ARCH,
    path::{Path, PathBuf},
    process::Command,
};

/// The processors that cargo-lambda builds for, as it calls the machine and as rustc does.
const PROCESSORS: [(&str, &str); 2] = [("x86_64", "haswell"), ("aarch64", "neoverse-n1")];

/// The package's release binary: as `cargo lambda build --release --package` asks cargo for it, so what that has built
/// is found done. Each package is built alone: none gets the features that another one switches on.
pub(super) fn built(package: &str) -> PathBuf {
    let (_, processor) = PROCESSORS.iter().find(|(arch, _)| *arch == ARCH).unwrap();
    let target = format!("{ARCH}-unknown-linux-gnu");
    let flags = format!(r#"build.rustflags=["-C", "target-cpu={processor}"]"#);
    let done = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--target", &target, "--config", &flags, "--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(done.success(), "{package} does not build");
    // `target/tmp` is the one folder of cargo's that a bench is told.
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(target).join("release").join(package)
}
