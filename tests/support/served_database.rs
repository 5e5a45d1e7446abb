//! The embedded database behind a port, for a function in a process of its own; the journal gets its writes.

use aws_smithy_runtime_api::{
    client::{http::HttpConnector, orchestrator::HttpRequest},
    http::Headers,
};
use aws_smithy_types::body::SdkBody;
use gateway_store::{Store, Tables};
use modelswitch::{Data, Engine, Template};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use crate::{
    journal::Journal,
    provider::{Seen, read_request, spawn},
};

/// The template's tables in memory, served over HTTP.
pub struct ServedDatabase {
    /// Where it listens, for `AWS_ENDPOINT_URL`.
    pub url: String,
    /// The same tables, read from here.
    pub store: Store,
}

impl ServedDatabase {
    /// Fresh tables on a free port. A write that is done is a line of the journal: `PutItem modelswitch-ledger`.
    pub async fn start(journal: Journal) -> Self {
        let engine = Engine::open(&Data::Ephemeral).unwrap();
        for table in Template::load(None).unwrap().tables {
            engine.create_table(&table).unwrap();
        }
        let store = Store::new(engine.client(), Tables::of_stack(modelswitch::STACK_NAME));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn(serve(stream, engine.clone(), journal.clone()));
            }
        });
        Self { url, store }
    }
}

async fn serve(mut stream: TcpStream, engine: Engine, journal: Journal) {
    while let Some(asked) = read_request(&mut stream).await {
        let (status, body) = answer(&engine, &asked).await;
        let target = asked.header("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        if status == 200 && ["PutItem", "UpdateItem", "TransactWriteItems"].contains(&operation) {
            let table = asked.json()["TableName"].as_str().unwrap_or_default().to_owned();
            journal.write(format!("{operation} {table}").trim());
        }
        let head = format!(
            "HTTP/1.1 {status} Done\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(&[head.as_bytes(), &body].concat()).await.is_err() {
            break;
        }
    }
}

async fn answer(engine: &Engine, asked: &Seen) -> (u16, Vec<u8>) {
    let mut request = HttpRequest::new(SdkBody::from(asked.body.as_str()));
    let mut headers = Headers::new();
    headers.insert("x-amz-target", asked.header("x-amz-target").unwrap_or_default().to_owned());
    *request.headers_mut() = headers;
    let answer = engine.call(request).await.unwrap();
    (answer.status().as_u16(), answer.body().bytes().unwrap_or_default().to_vec())
}
