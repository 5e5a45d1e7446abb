//! One processor, or a part of one: what a process has of the machine, and how much of it it used.
//!
//! A shell puts itself where it is told, waits for a line and becomes the binary: so the limits hold from its first
//! instruction on, and starting the shell is no part of the measurement.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

/// The processor that is measured on.
const MEASURED: &str = "0";

/// A function of 256 MB has 256/1769 of a processor when its initialisation is over; so much of each period of 20 ms.
const PERIOD_US: u32 = 20_000;
const QUOTA_US: u32 = PERIOD_US * 256 / 1769;

/// What the process gets.
pub(super) enum Cpu {
    /// A processor.
    One,
    /// A part of it: the folder of a control group.
    Part(PathBuf),
    /// A processor until the function asks for its first event, and a part of it from then on: the folder of a control group.
    /// So Lambda gives it where environments are made on demand.
    Burst(PathBuf),
}

impl Cpu {
    /// All, as far as this machine lets itself be divided.
    pub(super) fn available() -> Vec<Self> {
        let (part, burst) = (control_group("part"), control_group("burst"));
        if part.is_none() {
            println!("A part of a processor can't be given here: that takes root and control groups.\n");
        }
        std::iter::once(Self::One).chain(part.map(Self::Part)).chain(burst.map(Self::Burst)).collect()
    }

    /// What it is called in the table.
    pub(super) fn name(&self) -> String {
        let part = f64::from(QUOTA_US) / f64::from(PERIOD_US);
        match self {
            Self::One => "one".to_owned(),
            Self::Part(_) => format!("{part:.2} of one"),
            Self::Burst(_) => format!("one, then {part:.2} of it"),
        }
    }

    /// It is a whole one until the function asks for its first event.
    pub(super) fn is_one_until_ready(&self) -> bool {
        !matches!(self, Self::Part(_))
    }

    /// What the next process has before it asks for an event.
    pub(super) fn begin(&self) {
        match self {
            Self::One => {}
            Self::Part(group) => limit(group, Some(QUOTA_US)).unwrap(),
            Self::Burst(group) => limit(group, None).unwrap(),
        }
    }

    /// It has asked.
    pub(super) fn asked(&self) {
        if let Self::Burst(group) = self {
            limit(group, Some(QUOTA_US)).unwrap();
        }
    }

    /// Waits for a line on its standard input, then becomes the binary, in an empty environment.
    pub(super) fn command(&self, binary: &Path) -> Command {
        let group = match self {
            Self::One => PathBuf::from("/dev/null"),
            Self::Part(group) | Self::Burst(group) => group.join("cgroup.procs"),
        };
        let mut command = Command::new("taskset");
        command.args(["-c", MEASURED, "/bin/sh", "-c", r#"echo $$ >"$1" && read -r line && exec "$2""#, "sh"]);
        command.arg(group).arg(binary).env_clear();
        command
    }
}

impl Drop for Cpu {
    fn drop(&mut self) {
        if let Self::Part(group) | Self::Burst(group) = self {
            // A group that could not be removed is empty and in nobody's way.
            let _ = fs::remove_dir(group);
        }
    }
}

/// A new control group, of the first or the second version of Linux's control groups, if it takes a quota.
fn control_group(name: &str) -> Option<PathBuf> {
    let name = format!("modelswitch-bench-{}-{name}", std::process::id());
    ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"].iter().find_map(|root| {
        let group = Path::new(root).join(&name);
        fs::create_dir(&group).ok()?;
        if limit(&group, Some(QUOTA_US)).is_err() {
            // Nobody is in it yet, and where the controller is not there it is of no use.
            let _ = fs::remove_dir(&group);
            return None;
        }
        Some(group)
    })
}

/// Gives the group so much of each period, or all of it.
fn limit(group: &Path, quota_us: Option<u32>) -> io::Result<()> {
    let set =
        |file: &str, value: String| OpenOptions::new().write(true).open(group.join(file))?.write_all(value.as_bytes());
    if group.join("cpu.max").exists() {
        let quota = quota_us.map_or("max".to_owned(), |quota| quota.to_string());
        return set("cpu.max", format!("{quota} {PERIOD_US}"));
    }
    set("cpu.cfs_period_us", PERIOD_US.to_string())?;
    set("cpu.cfs_quota_us", quota_us.map_or("-1".to_owned(), |quota| quota.to_string()))
}

/// Moves this process to the other processors, if there are any.
pub(super) fn leave_the_measured_processor() {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    if processors > 1 {
        let others = format!("1-{}", processors - 1);
        let moved = Command::new("taskset").args(["-apc", &others, &std::process::id().to_string()]).output().unwrap();
        assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
    }
}

/// Waits until the shell sleeps, which it does when it reads.
pub(super) fn wait_until_it_waits(process: u32) {
    let waits = || {
        let state = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
        state("comm").trim() == "sh" && state("stat").split(' ').nth(2) == Some("S")
    };
    while !waits() {
        thread::sleep(Duration::from_millis(1));
    }
    // What the shell had of its part is given again with the next period.
    thread::sleep(Duration::from_micros(PERIOD_US.into()));
}

/// The processor time that all threads of the process have had so far.
pub(super) fn processor_time(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        times.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}
