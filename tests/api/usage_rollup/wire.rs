//! A store whose calls can be counted, held up and cut: what a process that dies leaves behind.

use std::{
    fmt,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use gateway_store::{Store, Tables};
use modelswitch::Engine;

/// When the process behind a store dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dies {
    /// Before its call of this number (counting from 1) is done.
    Before(usize),
    /// After that call was done, and before the reply.
    After(usize),
    Never,
}

/// What others do, once, before the call of this number.
#[derive(Clone)]
pub(crate) struct Interlude {
    before: usize,
    act: Arc<Mutex<Option<Act>>>,
}

type Act = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Interlude {
    pub(crate) fn new(before: usize, act: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { before, act: Arc::new(Mutex::new(Some(Box::pin(act)))) }
    }
}

/// The calls of a store to the database.
#[derive(Clone)]
pub(crate) struct Wire {
    engine: Engine,
    dies: Dies,
    /// How often others may go first before each call, as numbers of any size.
    delays: Arc<Vec<u8>>,
    interlude: Option<Interlude>,
    calls: Arc<Mutex<usize>>,
}

impl Wire {
    /// A store on the gateway's data, and its wire.
    pub(crate) fn store(file: &Path, dies: Dies, delays: &[u8]) -> (Store, Self) {
        let engine = Engine::beside(file).unwrap();
        let (delays, calls) = (Arc::new(delays.to_vec()), Arc::default());
        Self { engine, dies, delays, interlude: None, calls }.connected()
    }

    /// A store on the gateway's data between whose calls others do something.
    pub(crate) fn store_with(file: &Path, interlude: Interlude) -> (Store, Self) {
        let engine = Engine::beside(file).unwrap();
        let (delays, calls) = (Arc::default(), Arc::default());
        Self { engine, dies: Dies::Never, delays, interlude: Some(interlude), calls }.connected()
    }

    fn connected(self) -> (Store, Self) {
        let wire = self;
        let connector = SharedHttpConnector::new(wire.clone());
        let config = wire.engine.client().config().to_builder();
        let config = config.http_client(http_client_fn(move |_, _| connector.clone())).build();
        let client = aws_sdk_dynamodb::Client::from_conf(config);
        (Store::new(client, Tables::of_stack("modelswitch")), wire)
    }

    /// How many calls there were, those after its death included.
    pub(crate) fn calls(&self) -> usize {
        *self.calls.lock().unwrap()
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let call = {
            let mut calls = self.calls.lock().unwrap();
            *calls += 1;
            *calls
        };
        let (done, heard) = match self.dies {
            Dies::Before(last) => (call < last, call < last),
            Dies::After(last) => (call <= last, call < last),
            Dies::Never => (true, true),
        };
        let delay = self.delays.get(call % self.delays.len().max(1)).copied().unwrap_or(0) % 4;
        let engine = self.engine.clone();
        let interlude = self.interlude.iter().find(|interlude| interlude.before == call);
        let interlude = interlude.and_then(|interlude| interlude.act.lock().unwrap().take());
        HttpConnectorFuture::new(async move {
            for _ in 0..delay {
                tokio::task::yield_now().await;
            }
            if let Some(act) = interlude {
                act.await;
            }
            let answer = if done { Some(engine.call(request).await?) } else { None };
            let dead = || ConnectorError::io("the process is dead".into());
            answer.filter(|_| heard).ok_or_else(dead)
        })
    }
}
