//! The other processes of the bench: this binary again, as the provider or as a gateway.
//!
//! Each ends when its standard input does, so none outlives the bench however that ends.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{BufRead, BufReader, Read, stdin},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

/// The first argument of a provider.
pub(crate) const PROVIDER: &str = "provider-process";
/// The first argument of a gateway; what follows is for `modelswitch`.
pub(crate) const GATEWAY: &str = "gateway-process";

/// A process that answers.
pub(crate) struct Process {
    child: Child,
    /// What it printed when it was ready.
    pub(crate) ready: Value,
}

impl Process {
    /// Starts this binary with these arguments and an empty environment, and waits for its first line.
    pub(crate) fn start(arguments: &[&str], log: &str) -> Self {
        let log = folder().join(log);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("it does not start: {}", log.display()));
        Self { child, ready }
    }

    /// The most memory that it has had so far, in MiB.
    pub(crate) fn peak_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.and_then(|kib| kib.trim().parse::<f64>().ok()).map_or(f64::NAN, |kib| kib / 1024.0)
    }

    /// The processor time that it has had so far.
    pub(crate) fn busy(&self) -> Duration {
        /// The unit of /proc, on every Linux.
        const TICK: Duration = Duration::from_millis(10);
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // Behind the name: the 12th and 13th fields, in user mode and in the kernel.
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        TICK * fields.filter_map(|ticks| ticks.parse::<u32>().ok()).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the gateways write, in the build folder.
pub(crate) fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gateway-bench");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A database file of this name that is not there yet.
pub(crate) fn fresh_file(name: &str) -> PathBuf {
    for suffix in ["", "-wal", "-shm", ".lock"] {
        // Nothing to remove is as good.
        let _ = fs::remove_file(folder().join(format!("{name}{suffix}")));
    }
    folder().join(name)
}

/// The program `modelswitch`, just as its own binary runs it.
pub(crate) fn run_gateway() -> ExitCode {
    end_with_the_bench();
    let arguments = std::iter::once(OsString::from("modelswitch")).chain(std::env::args_os().skip(2));
    tokio::runtime::Runtime::new().unwrap().block_on(modelswitch::run::run(arguments))
}

/// Ends this process when whoever started it is gone.
pub(crate) fn end_with_the_bench() {
    thread::spawn(|| {
        // Its end, or an error: both mean that nobody is there.
        let _ = stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}
