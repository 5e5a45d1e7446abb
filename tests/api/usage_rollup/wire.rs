//! A store whose calls can be counted, held up and cut: what a process that dies leaves behind.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use gateway_store::{Store, Tables};
use modelswitch::Engine;
use usage_rollup::{App, StreamEvent};

/// When the process behind a store dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dies {
    /// Before its call of this number (counting from 1) is done.
    Before(usize),
    /// After that call was done, and before the reply.
    After(usize),
    Never,
}

/// A rollup that runs before a call of this number.
#[derive(Debug, Clone)]
pub(crate) struct Interlude {
    pub(crate) before: usize,
    pub(crate) rollup: App,
    pub(crate) event: StreamEvent,
}

/// The calls of a store to the database.
#[derive(Debug, Clone)]
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

    /// A store on the gateway's data that another process's rollup comes between.
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
        let interlude = self.interlude.clone().filter(|interlude| interlude.before == call);
        HttpConnectorFuture::new(async move {
            for _ in 0..delay {
                tokio::task::yield_now().await;
            }
            if let Some(Interlude { rollup, event, .. }) = interlude {
                // It may be one that dies.
                usage_rollup::handle(&rollup, event).await;
            }
            let answer = if done { Some(engine.call(request).await?) } else { None };
            let dead = || ConnectorError::io("the process is dead".into());
            answer.filter(|_| heard).ok_or_else(dead)
        })
    }
}
