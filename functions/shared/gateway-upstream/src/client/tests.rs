use gateway_core::error::{ApiError, ErrorCode};

use super::*;
use crate::{
    Secrets,
    scripted::{Scripted, Then, Turn, endpoint, others_run, request_id},
};

const ANSWER: &str = r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#;
const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
const WORD: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";

fn ok() -> Turn {
    Turn::answer(200, "content-type: application/json\r\n", ANSWER)
}

fn closes() -> Turn {
    Turn(String::new(), Then::Close)
}

fn upstream(secrets: &[(&str, &str)]) -> Upstream {
    let secrets = secrets.iter().map(|(name, secret)| ((*name).to_owned(), (*secret).to_owned())).collect();
    upstream_with(Credentials::fixed(secrets))
}

fn upstream_with(credentials: Credentials) -> Upstream {
    let timeouts = Timeouts { connect_ms: 2_000, first_byte_ms: 100, answer_ms: 100, idle_ms: 100 };
    Upstream::new(timeouts, credentials)
}

async fn ask(upstream: &Upstream, endpoints: &[Endpoint]) -> Result<String, UpstreamError> {
    let body = |_: &Endpoint| b"{\"prompt\":1}".to_vec();
    let (_, answer) = upstream.answer(&request_id(), endpoints, "chat/completions", body).await?;
    Ok(String::from_utf8(answer.to_vec()).unwrap())
}

async fn stream(upstream: &Upstream, endpoints: &[Endpoint]) -> Result<String, UpstreamError> {
    let body = |_: &Endpoint| b"{\"stream\":true}".to_vec();
    let (_, mut stream) = upstream.stream(&request_id(), endpoints, "chat/completions", body).await?;
    let mut text = Vec::new();
    while let Some(bytes) = stream.next().await {
        text.extend_from_slice(&bytes?);
    }
    Ok(String::from_utf8(text).unwrap())
}

/// What the client is told when this provider's answer is asked for.
async fn told(turn: Turn) -> ApiError {
    let provider = Scripted::turns([turn]).await;
    ask(&upstream(&[]), std::slice::from_ref(&provider.endpoint)).await.unwrap_err().into()
}

#[tokio::test]
async fn the_request_is_the_body_with_the_provider_s_headers_and_credential() {
    let provider = Scripted::turns([ok()]).await;
    let mut endpoint = provider.endpoint.clone();
    endpoint.provider.credential = Some("lab".to_owned());
    assert_eq!(ask(&upstream(&[("lab", "marked-secret")]), &[endpoint]).await.unwrap(), ANSWER);
    let request = &provider.requests()[0];
    assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{request}");
    for part in ["authorization: Bearer marked-secret\r\n", "x-lab: 1\r\n", "content-type: application/json\r\n"] {
        assert!(request.contains(part), "{request}");
    }
    assert!(!request.contains("accept-encoding"), "answers are forwarded as they are");
    assert!(request.ends_with("\r\n\r\n{\"prompt\":1}"));
}

#[tokio::test]
async fn a_kept_connection_that_closes_before_a_byte_is_retried_once_on_a_new_one() {
    for close in [Then::Close, Then::Reset] {
        let provider = Scripted::turns([ok(), Turn(String::new(), close), ok(), ok()]).await;
        let (upstream, endpoints) = (upstream(&[]), [provider.endpoint.clone()]);
        ask(&upstream, &endpoints).await.unwrap();
        others_run().await;
        assert_eq!(ask(&upstream, &endpoints).await.unwrap(), ANSWER, "{close:?}");
        assert_eq!((provider.requests().len(), provider.connections()), (3, 2), "{close:?}");
    }
}

#[tokio::test]
async fn a_retry_that_is_closed_too_is_an_error() {
    let provider = Scripted::turns([ok(), closes(), closes(), ok()]).await;
    let (upstream, endpoints) = (upstream(&[]), [provider.endpoint.clone()]);
    ask(&upstream, &endpoints).await.unwrap();
    others_run().await;
    let error = ask(&upstream, &endpoints).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Failed { .. }), "{error:?}");
    assert_eq!(provider.requests().len(), 3);
}

#[tokio::test]
async fn a_new_connection_that_closes_before_a_byte_is_never_retried() {
    let provider = Scripted::turns([closes(), ok()]).await;
    ask(&upstream(&[]), std::slice::from_ref(&provider.endpoint)).await.unwrap_err();
    assert_eq!(provider.requests().len(), 1);
}

#[tokio::test]
async fn a_kept_connection_that_dies_after_response_bytes_is_never_retried() {
    let half = Turn("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"choi".to_owned(), Then::Close);
    let provider = Scripted::turns([ok(), half, ok()]).await;
    let (upstream, endpoints) = (upstream(&[]), [provider.endpoint.clone()]);
    ask(&upstream, &endpoints).await.unwrap();
    others_run().await;
    ask(&upstream, &endpoints).await.unwrap_err();
    assert_eq!(provider.requests().len(), 2);
}

#[tokio::test]
async fn many_streams_survive_a_server_that_closes_every_kept_connection() {
    let whole = [ROLE, WORD, "data: [DONE]\n\n"].concat();
    let served = whole.clone();
    let provider =
        Scripted::script(move |nth| if nth == 0 { Turn::stream(&served, Then::Keep) } else { closes() }).await;
    let timeouts = Timeouts { connect_ms: 5_000, first_byte_ms: 5_000, answer_ms: 5_000, idle_ms: 5_000 };
    let upstream = Upstream::new(timeouts, Credentials::fixed(Secrets::new()));
    let endpoints = [provider.endpoint.clone()];
    for _ in 0..3 {
        let streams = futures_util::future::join_all((0..32).map(|_| stream(&upstream, &endpoints))).await;
        for text in streams {
            assert_eq!(text.as_ref(), Ok(&whole));
        }
        others_run().await;
    }
    assert!(provider.requests().len() > 96, "kept connections were closed: {}", provider.requests().len());
}

#[tokio::test]
async fn every_failure_of_a_provider_is_its_row_of_the_error_table() {
    let openai = |message: &str, more: &str| format!(r#"{{"error":{{"message":"{message}","type":"x"{more}}}}}"#);
    let bad = openai("bad n", r#","param":"n","code":null"#);
    let long = openai("too long", r#","code":"context_length_exceeded""#);
    let secret = openai("secret", "");
    for (status, body, code) in [
        (400, bad.as_str(), ErrorCode::InvalidParameter),
        (400, long.as_str(), ErrorCode::ContextLengthExceeded),
        (404, secret.as_str(), ErrorCode::InvalidParameter),
        (422, r#"{"detail":[{"msg":"bad"}]}"#, ErrorCode::InvalidParameter),
        (400, r#"{"object":"error","message":"bad"}"#, ErrorCode::InvalidParameter),
        (400, "<html>", ErrorCode::UpstreamError),
        (401, secret.as_str(), ErrorCode::UpstreamError),
        (403, secret.as_str(), ErrorCode::UpstreamError),
        (402, secret.as_str(), ErrorCode::UpstreamOverloaded),
        (429, secret.as_str(), ErrorCode::UpstreamOverloaded),
        (503, "", ErrorCode::UpstreamOverloaded),
        (529, "", ErrorCode::UpstreamOverloaded),
        (500, secret.as_str(), ErrorCode::UpstreamError),
        (302, "", ErrorCode::UpstreamError),
        (200, "<html>secret</html>", ErrorCode::UpstreamError),
        (200, "[]", ErrorCode::UpstreamError),
        (200, secret.as_str(), ErrorCode::UpstreamError),
        (200, r#"{"error":{"message":"slow down","code":429}}"#, ErrorCode::UpstreamOverloaded),
    ] {
        let error = told(Turn::answer(status, "", body)).await;
        assert_eq!(error.code, code, "{status} {body}: {error:?}");
        if code != ErrorCode::InvalidParameter {
            assert!(!format!("{error:?}").contains("secret"), "{status}: {error:?}");
        }
    }
    let error = told(Turn::answer(400, "", &bad)).await;
    assert_eq!((error.message.as_str(), error.param.as_deref()), ("bad n", Some("n")));
    let error = told(Turn::answer(429, "retry-after: 7\r\n", "")).await;
    assert_eq!(error.retry_after_s, Some(7));
}

#[tokio::test]
async fn hangs_cuts_garbage_and_dead_ports_are_told_apart() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"choi";
    for (says, then, code) in [
        ("", Then::Hang, ErrorCode::UpstreamTimeout),
        ("HTTP/1.1 200 OK\r\n", Then::Hang, ErrorCode::UpstreamTimeout),
        (half, Then::Hang, ErrorCode::UpstreamTimeout),
        ("", Then::Close, ErrorCode::UpstreamError),
        (half, Then::Close, ErrorCode::UpstreamError),
        ("SSH-2.0-OpenSSH\r\n", Then::Close, ErrorCode::UpstreamError),
    ] {
        let error = told(Turn(says.to_owned(), then)).await;
        assert_eq!(error.code, code, "{says:?} {then:?}: {error:?}");
    }
    let dead = endpoint("http://127.0.0.1:9/v1");
    let error = ask(&upstream(&[]), &[dead]).await.unwrap_err();
    assert!(error.to_string().contains("no connection"), "{error}");
    let too_long = format!("{{\"x\":\"{}\"}}", "x".repeat(17 * 1024 * 1024));
    assert_eq!(told(Turn::answer(200, "", &too_long)).await.code, ErrorCode::UpstreamError);
}

#[tokio::test]
async fn a_refused_credential_is_fetched_again_and_tried_once_more() {
    let version = std::sync::atomic::AtomicU32::new(0);
    let source: crate::Source = Arc::new(move || {
        let version = version.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(Secrets::from([("lab".to_owned(), format!("v{version}"))]))))
    });
    let provider = Scripted::turns([Turn::answer(401, "", ""), ok()]).await;
    let mut endpoint = provider.endpoint.clone();
    endpoint.provider.credential = Some("lab".to_owned());
    let upstream = upstream_with(Credentials::from_source(source));
    assert_eq!(ask(&upstream, &[endpoint]).await.unwrap(), ANSWER);
    assert!(provider.requests()[0].contains("Bearer v0"));
    assert!(provider.requests()[1].contains("Bearer v1"));
}

#[tokio::test]
async fn a_credential_that_stays_refused_is_ours_to_answer_for() {
    let quoting = r#"{"error":{"message":"Incorrect API key: marked-secret"}}"#;
    for (status, code) in [(401, ErrorCode::UpstreamError), (400, ErrorCode::InvalidParameter)] {
        let provider = Scripted::turns([Turn::answer(status, "", quoting), ok()]).await;
        let mut endpoint = provider.endpoint.clone();
        endpoint.provider.credential = Some("lab".to_owned());
        let error = ask(&upstream(&[("lab", "marked-secret")]), &[endpoint]).await.unwrap_err();
        let error = ApiError::from(error);
        assert_eq!((error.code, provider.requests().len()), (code, 1));
        assert!(!format!("{error:?}").contains("marked-secret"), "{error:?}");
    }
}

#[tokio::test]
async fn without_its_credential_a_provider_is_not_called() {
    let provider = Scripted::turns([ok()]).await;
    let mut endpoint = provider.endpoint.clone();
    endpoint.provider.credential = Some("lab".to_owned());
    let error = ask(&upstream(&[]), &[endpoint]).await.unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(ApiError::from(error).code, ErrorCode::NoProvider);
    assert_eq!(provider.connections(), 0);
}

#[tokio::test]
async fn until_the_first_content_another_endpoint_may_answer() {
    let error = "data: {\"error\":{\"message\":\"no\",\"code\":\"overloaded\"}}\n\n";
    for turn in [
        Turn::answer(500, "", ""),
        Turn::answer(429, "", ""),
        Turn::answer(200, "content-type: text/html\r\n", "<html>\n\n</html>"),
        Turn::answer(200, "", ANSWER),
        Turn::stream("data: <html>\n\n", Then::Keep),
        Turn::stream("data: [DONE]\n\n", Then::Keep),
        Turn::stream(": nothing\n\n", Then::Keep),
        Turn::stream(error, Then::Keep),
        Turn::stream(&format!(": wait\n\n{ROLE}{error}"), Then::Keep),
        Turn::stream(ROLE, Then::Close),
        Turn::stream(ROLE, Then::Hang),
        Turn(String::new(), Then::Hang),
        closes(),
    ] {
        let failing = Scripted::turns([turn.clone()]).await;
        let good = Scripted::turns([Turn::stream(WORD, Then::Keep)]).await;
        let endpoints = [failing.endpoint.clone(), good.endpoint.clone()];
        assert_eq!(stream(&upstream(&[]), &endpoints).await.as_deref(), Ok(WORD), "{turn:?}");
    }
}

#[tokio::test]
async fn after_content_the_stream_is_the_client_s_and_nobody_else_is_asked() {
    let failing = Scripted::turns([Turn::stream(&[ROLE, WORD].concat(), Then::Close)]).await;
    let good = Scripted::turns([Turn::stream(WORD, Then::Keep)]).await;
    let endpoints = [failing.endpoint.clone(), good.endpoint.clone()];
    assert!(stream(&upstream(&[]), &endpoints).await.is_err());
    assert_eq!(good.connections(), 0);
}

#[tokio::test]
async fn a_request_that_is_itself_at_fault_is_not_sent_to_another_endpoint() {
    let refusing = Scripted::turns([Turn::answer(400, "", r#"{"error":{"message":"bad"}}"#)]).await;
    let good = Scripted::turns([ok()]).await;
    let error = ask(&upstream(&[]), &[refusing.endpoint.clone(), good.endpoint.clone()]).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Rejected { status: 400, .. }), "{error:?}");
    assert_eq!(good.connections(), 0);
}

#[tokio::test]
async fn the_last_endpoint_s_failure_is_the_answer_when_none_is_left() {
    let first = Scripted::turns([Turn::answer(500, "", "")]).await;
    let second = Scripted::turns([Turn::answer(429, "", "")]).await;
    let error = ask(&upstream(&[]), &[first.endpoint.clone(), second.endpoint.clone()]).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Overloaded { status: 429, .. }), "{error:?}");
}
