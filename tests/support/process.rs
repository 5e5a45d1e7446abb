//! The gateway as a process of its own: to be killed, and to have all that it prints searched.
//!
//! The program is this test binary, started again to run one test alone, which is [`run_if_asked`]: so the process is
//! the very code under test, and no other build of it has to be found.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitCode, Output, Stdio},
    thread::JoinHandle,
};

use serde_json::Value;

use crate::Client;

/// The command line of the program that a started test is to be, one argument a line.
const ARGUMENTS: &str = "TEST_GATEWAY_ARGUMENTS";

/// Becomes the gateway if this process was started to be it. To be called by the test named to [`Process::start`].
#[expect(clippy::disallowed_methods, reason = "the variable is this module's own")]
pub fn run_if_asked() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let arguments = std::iter::once("modelswitch").chain(arguments.lines()).map(Into::into);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if runtime.block_on(modelswitch::run::run(arguments.collect::<Vec<_>>())) != ExitCode::SUCCESS {
        std::process::exit(1);
    }
}

/// Runs `modelswitch` with these arguments to its end. What it prints stands among the test binary's own lines.
pub fn run(test: &str, arguments: &[&str]) -> Output {
    command(test, arguments).output().unwrap()
}

fn command(test: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(ARGUMENTS, arguments.join("\n"));
    command
}

/// A gateway's process. Killed when it is dropped.
pub struct Process {
    child: Child,
    output: Option<JoinHandle<String>>,
    errors: Option<JoinHandle<String>>,
    /// What it printed when it was ready: `url`, `proxy_key`, `billing_key`, `account_id`.
    pub ready: Value,
}

impl Process {
    /// Starts `modelswitch serve --port 0 --json` with these arguments and variables more, and waits until it answers.
    pub fn start(test: &str, arguments: &[&str], variables: &HashMap<&str, &str>) -> Self {
        let mut child = command(test, &[&["serve", "--port", "0", "--json"], arguments].concat())
            .envs(variables)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).unwrap();
            text
        });
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut seen = String::new();
        let ready = loop {
            let mut line = String::new();
            if output.read_line(&mut line).unwrap() == 0 {
                panic!("the gateway did not start: {}", errors.join().unwrap());
            }
            seen.push_str(&line);
            if let Some(ready) = line.find('{').and_then(|at| serde_json::from_str(&line[at..]).ok()) {
                break ready;
            }
        };
        let output = std::thread::spawn(move || {
            output.read_to_string(&mut seen).unwrap();
            seen
        });
        Self { child, output: Some(output), errors: Some(errors), ready }
    }

    /// A client with one of the keys that were printed: `proxy_key` or `billing_key`.
    pub fn client(&self, key: &str) -> Client {
        Client::new(self.ready["url"].as_str().unwrap(), self.ready[key].as_str())
    }

    /// Kills it at once (SIGKILL) and returns all that it printed: output, then errors.
    pub fn kill(mut self) -> (String, String) {
        self.child.kill().unwrap();
        (self.output.take().unwrap().join().unwrap(), self.errors.take().unwrap().join().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
