//! A function's process as Lambda runs it: our code under AWS's real runtime, which asks a scripted Runtime API for events.
//!
//! The program is the test binary, started again to run one test alone, which is [`run_if_asked`].

use std::{
    convert::Infallible,
    io::Read,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread::JoinHandle,
};

use gateway_core::{catalogue::Catalogue, error::ApiError, settings::Settings};
use gateway_lambda::{Request, Response, StartError, WarmUp, environment, required};
use gateway_store::{Configuration, Store, Tables};
use gateway_upstream::{Credentials, Timeouts, Upstream};
use serde_json::Value;
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::{runtime_api::RuntimeApi, served_database::ServedDatabase};

/// The function that a started test is to be.
const FUNCTION: &str = "TEST_FUNCTION";
/// Its settings, as JSON.
const SETTINGS: &str = "TEST_SETTINGS";
/// Where its start-up asks to be let on, `127.0.0.1:40000`.
pub const GATE: &str = "TEST_GATE";

/// Whether the gate has opened.
static WARM: AtomicBool = AtomicBool::new(false);

/// The functions that a process can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `chat-completions`.
    Chat,
    /// A route with whole answers that does what its request's body says.
    Told,
    /// The same with answers that stream.
    ToldStreaming,
    /// An authorizer that panics.
    Authorizer,
}

const FUNCTIONS: [(Function, &str); 4] = [
    (Function::Chat, "chat-completions"),
    (Function::Told, "told"),
    (Function::ToldStreaming, "told-streaming"),
    (Function::Authorizer, "authorizer"),
];

/// Becomes a function's process if this one was started to be it. To be called by the test named to
/// [`FunctionProcess::start`].
pub fn run_if_asked() {
    let Some(name) = environment(FUNCTION) else { return };
    let (function, name) = FUNCTIONS.into_iter().find(|(_, known)| *known == name).unwrap();
    gateway_lambda::logs_to_stdout();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run(function, name)).unwrap();
}

async fn run(function: Function, name: &'static str) -> Result<(), StartError> {
    match function {
        Function::Chat => {
            let app = chat().await?;
            let handle = move |request| {
                let app = app.clone();
                async move { chat_completions::handle(&app, request).await }
            };
            gateway_lambda::run_streaming(name, WarmUp::default(), handle).await
        }
        Function::Told => gateway_lambda::run_buffered(name, gate(), told).await,
        Function::ToldStreaming => gateway_lambda::run_streaming(name, gate(), told).await,
        Function::Authorizer => {
            let handle = |event: Value| async move {
                // The very word that API Gateway takes for a refusal.
                if event["panics"] == true {
                    panic!("Unauthorized");
                }
                Ok::<_, Infallible>(event)
            };
            gateway_lambda::run_authorizer(name, WarmUp::default(), handle).await
        }
    }
}

/// `chat-completions` as its `main` makes it, but for what is stored: settings and credentials.
async fn chat() -> Result<chat_completions::App, StartError> {
    let settings = Settings::parse(required(SETTINGS)?.as_bytes())?;
    Ok(chat_completions::App {
        store: Store::connect(Tables::of_stack(modelswitch::STACK_NAME)).await,
        upstream: Upstream::new(Timeouts::default(), Credentials::fixed([].into())),
        configuration: Configuration::fixed(Catalogue::new(settings)?),
    })
}

/// A start-up that asks the gate, if there is one, and is done when that opens.
fn gate() -> WarmUp {
    let Some(address) = environment(GATE) else { return WarmUp::default() };
    WarmUp::of(async {
        let opened = TcpStream::connect(address).await?.read_u8().await;
        WARM.store(true, Ordering::SeqCst);
        opened
    })
}

/// Does what the body says first: `panics`, `hangs`, `begins and panics`, `begins and hangs`, or nothing of the kind. The
/// panics' messages hold the whole body, as a prompt would be in one.
async fn told(request: Request) -> Result<Response, ApiError> {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    if body.starts_with("begins") {
        return Ok(Response::streamed("text/plain", &request, "cut", |sender| async move {
            sender.send("begun\n".into()).await.unwrap();
            assert!(!body.starts_with("begins and panics"), "{body}");
            std::future::pending().await
        }));
    }
    if body.starts_with("hangs") {
        std::future::pending::<()>().await;
    }
    assert!(!body.starts_with("panics"), "{body}");
    Ok(Response::bytes(200, "text/plain", if WARM.load(Ordering::SeqCst) { "warm" } else { "well" }))
}

/// A function's process. Killed when it is dropped.
pub struct FunctionProcess {
    child: Child,
    output: Option<JoinHandle<String>>,
}

impl FunctionProcess {
    /// Starts `function`, which asks `api` for up to `concurrency` events at once, with `more` in its environment.
    pub fn start(
        test: &str,
        function: Function,
        api: &RuntimeApi,
        database: &ServedDatabase,
        settings: &Value,
        concurrency: usize,
        more: &[(&str, &str)],
    ) -> Self {
        let (_, name) = FUNCTIONS.into_iter().find(|(known, _)| *known == function).unwrap();
        let (settings, concurrency) = (settings.to_string(), concurrency.to_string());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .envs([
                (FUNCTION, name),
                (SETTINGS, &settings),
                ("STACK_NAME", "test"),
                ("AWS_LAMBDA_RUNTIME_API", &api.address),
                ("AWS_LAMBDA_FUNCTION_NAME", name),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
                ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
                ("AWS_LAMBDA_MAX_CONCURRENCY", &concurrency),
                ("AWS_ENDPOINT_URL", &database.url),
                ("AWS_REGION", "us-east-1"),
                ("AWS_ACCESS_KEY_ID", "test"),
                ("AWS_SECRET_ACCESS_KEY", "test"),
            ])
            .envs(more.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut out, mut errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let output = std::thread::spawn(move || {
            let errors = std::thread::spawn(move || {
                let mut text = String::new();
                errors.read_to_string(&mut text).unwrap();
                text
            });
            let mut text = String::new();
            out.read_to_string(&mut text).unwrap();
            text + &errors.join().unwrap()
        });
        Self { child, output: Some(output) }
    }

    /// Sends SIGTERM, as the platform does.
    pub fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Waits until it ends by itself: whether it ended well, and all that it printed.
    pub fn ended(&mut self) -> (bool, String) {
        let well = self.child.wait().unwrap().success();
        (well, self.output.take().unwrap().join().unwrap())
    }

    /// Kills it and returns all that it printed.
    pub fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.output.take().unwrap().join().unwrap()
    }
}

impl Drop for FunctionProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
