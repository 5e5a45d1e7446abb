//! Cold starts: every function's release binary, as it is deployed, beside a function that does nothing.
//!
//! All take turns in one run, each time as a new process: from its start to its first question for an event, and to its
//! first answer. Lambda's runtime API, the database and the secret are in this process, on another processor where there
//! is one, and AWS's services are behind TLS: what a start costs there but for the network's own time. Functions can be
//! chosen: `cargo bench -p tests -- cold authorizer`.

mod aws;
mod binary;
mod limit;
mod runtime;

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use gateway_lambda::Clock;
use serde_json::{Value, json};

use self::{
    aws::Aws,
    limit::Cpu,
    runtime::{RuntimeApi, Seen},
};
use crate::{now, process::folder, sample::median};

/// Starts of each function, after one that only fills the system's caches.
const ROUNDS: usize = 15;

/// What is measured: the package, an event of `events/`, and what its answer holds.
const FUNCTIONS: [(&str, &str, &str); 17] = [
    (HELLO, "unknown-route/unknown-path", r#""statusCode":200"#),
    ("authorizer", "authorizer/proxy-key", r#""Effect":"Allow""#),
    ("chat-completions", "chat-completions/answer", r#""statusCode":200"#),
    // Nobody here serves its model, which it finds out when all is open.
    ("embeddings", "embeddings/answer", r#""statusCode":503"#),
    ("models", "models/list", r#""statusCode":200"#),
    ("auth-key", "auth-key/show", r#""statusCode":200"#),
    ("balance", "balance/show", r#""statusCode":200"#),
    ("usage", "usage/list", r#""statusCode":200"#),
    ("transactions", "transactions/list", r#""statusCode":200"#),
    ("keys", "keys/list", r#""statusCode":200"#),
    // Nobody pays here, which both find out when all is open.
    ("payments", "payments/create", r#""statusCode":503"#),
    ("stripe-webhook", "stripe-webhook/paid", r#""statusCode":503"#),
    ("dashboard", "dashboard/sign-in", r#""statusCode":200"#),
    ("usage-rollup", "usage-rollup/served", r#""batchItemFailures":[]"#),
    ("low-balance", "low-balance/booked", r#""batchItemFailures":[]"#),
    ("hold-expirer", "hold-expirer/scheduled", r#""released":0"#),
    ("unknown-route", "unknown-route/unknown-path", r#""statusCode":404"#),
];

/// What all others are measured beside.
const HELLO: &str = "hello-world";

/// A function to be started.
struct Function {
    name: &'static str,
    binary: PathBuf,
    /// The file in `events/`, without its extension.
    event: &'static str,
    expected: &'static str,
    /// For each `Cpu` in turn.
    starts: Vec<Vec<Start>>,
}

/// One start.
struct Start {
    /// To its first connection to AWS, if it makes one: what comes after is mostly waiting for answers.
    connected: Option<Duration>,
    /// To its first question for an event, which is where Lambda's initialisation ends.
    ready: Duration,
    /// To the end of its first answer.
    answered: Duration,
    /// The processor time that it took to be ready.
    busy: Duration,
    /// The most memory that it has had when it has answered.
    peak_mib: f64,
}

/// Measures and prints the tables.
pub(crate) fn run() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let aws = runtime.block_on(Aws::start());
    let named: Vec<_> = std::env::args().collect();
    let named = |name: &str| named.iter().any(|argument| argument == name);
    let all = !FUNCTIONS.iter().any(|(name, ..)| named(name));
    let chosen = FUNCTIONS.iter().filter(|(name, ..)| all || *name == HELLO || named(name));
    let mut functions: Vec<_> = chosen
        .map(|&(name, event, expected)| Function {
            name,
            binary: binary::built(name),
            event,
            expected,
            starts: Vec::new(),
        })
        .collect();
    limit::leave_the_measured_processor();
    let cpus = Cpu::available();
    for cpu in &cpus {
        functions.iter_mut().for_each(|function| function.starts.push(Vec::new()));
        for round in 0..=ROUNDS {
            for function in &mut functions {
                let start = runtime.block_on(start(function, &aws, cpu));
                if round > 0 {
                    function.starts.last_mut().unwrap().push(start);
                }
            }
        }
    }
    print(&functions, &cpus);
}

/// Starts the function, has it answer one event, and ends it.
async fn start(function: &Function, aws: &Aws, cpu: &Cpu) -> Start {
    let mut api = RuntimeApi::start(event(function, aws)).await;
    aws.forget_connections();
    let log = folder().join(format!("{}.log", function.name));
    cpu.begin();
    let mut command = cpu.command(&function.binary);
    command.envs(aws.variables()).env("AWS_LAMBDA_RUNTIME_API", &api.address);
    command.env("AWS_LAMBDA_FUNCTION_NAME", function.name).env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand");
    let output = File::create(&log).unwrap();
    let mut child =
        Running(command.stdin(Stdio::piped()).stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap());
    limit::wait_until_it_waits(child.0.id());
    let shell_s = limit::processor_time(child.0.id());
    let began = now();
    child.0.stdin.take().unwrap().write_all(b"\n").unwrap();
    let failed = |what: &str| panic!("{}: {what}: {}", function.name, log.display());
    let Some(Seen::Next(ready)) = api.seen().await else { failed("it did not ask for an event") };
    cpu.asked();
    let busy = limit::processor_time(child.0.id()) - shell_s;
    let Some(Seen::Answer { at, path, body }) = api.seen().await else { failed("it did not answer") };
    let body = String::from_utf8_lossy(&body);
    if !path.ends_with("/response") || !body.contains(function.expected) {
        failed(&format!("it answered {body}"));
    }
    Start {
        connected: aws.first_connection().map(|at| at - began),
        ready: ready - began,
        answered: at - began,
        busy,
        peak_mib: peak_mib(child.0.id()),
    }
}

/// A process that ends with its measurement.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The function's event, as one of the account that there is, that comes now and for the first time.
fn event(function: &Function, aws: &Aws) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../events/{}.json", function.event));
    let text = fs::read_to_string(file).unwrap();
    let text = text.replace("acct_0123456789ABCDEF", &aws.account).replace("ms-PUT-A-KEY-HERE", &aws.proxy_key);
    let mut event: Value = serde_json::from_str(&text).unwrap();
    if let Some(context) = event.get_mut("requestContext") {
        let id = u128::from_be_bytes(gateway_store::random().unwrap());
        context["requestId"] = json!(format!("{id:032x}"));
        context["requestTimeEpoch"] = json!(Clock::system().now().0);
    }
    event.to_string()
}

/// The most memory that the process has had so far.
fn peak_mib(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    peak.unwrap().trim().parse::<f64>().unwrap() / 1024.0
}

/// The medians of all starts, and what some are of the first function's: all of one processor, and of less what differs.
fn print(functions: &[Function], cpus: &[Cpu]) {
    let mut head = "| | to its first connection | ready | | processor time until then | | first answer |".to_owned();
    for cpu in &cpus[1..] {
        let until_ready =
            if cpu.is_one_until_ready() { String::new() } else { format!(" ready, with {} | |", cpu.name()) };
        let _ = write!(head, "{until_ready} first answer, with {} |", cpu.name());
    }
    println!("{head} peak memory |\n|---|{}", "--:|".repeat(head.matches('|').count() - 1));
    let ms = |starts: &[Start], of: fn(&Start) -> Duration| {
        median(starts.iter().map(|start| of(start).as_secs_f64() * 1000.0))
    };
    for function in functions {
        let mut row = format!("| {} |", function.name);
        for (at, (starts, cpu)) in function.starts.iter().zip(cpus).enumerate() {
            let beside_hello = |of| {
                let (own, hello) = (ms(starts, of), ms(&functions[0].starts[at], of));
                format!(" {own:.1} ms | ×{:.2} |", own / hello)
            };
            if at == 0 {
                let connected = starts.iter().all(|start| start.connected.is_some());
                let connected = connected.then(|| ms(starts, |start| start.connected.unwrap_or_default()));
                row += &connected.map_or("  |".to_owned(), |ms| format!(" {ms:.1} ms |"));
                row += &beside_hello(|start| start.ready);
                row += &beside_hello(|start| start.busy);
            } else if !cpu.is_one_until_ready() {
                row += &beside_hello(|start| start.ready);
            }
            let _ = write!(row, " {:.1} ms |", ms(starts, |start| start.answered));
        }
        println!("{row} {:.0} MiB |", median(function.starts[0].iter().map(|start| start.peak_mib)));
    }
    println!();
}
