//! What every answer keeps to, whatever its handler does.

use futures_util::FutureExt;
use gateway_core::moment::UnixMs;
use http_body_util::BodyExt;
use lambda_http::{RequestExt, aws_lambda_events::apigw::ApiGatewayProxyRequest, request::LambdaRequest};

use super::*;

const NOW: UnixMs = UnixMs(1_795_426_200_000);

/// An event of a function that may run for 29 seconds.
fn event() -> lambda_http::Request {
    let event: lambda_http::Request = LambdaRequest::ApiGatewayV1(ApiGatewayProxyRequest::default()).into();
    let mut context = lambda_http::Context::default();
    context.deadline = NOW.plus_ms(29_000).0;
    event.with_lambda_context(context)
}

async fn text(answer: http::Response<Body>) -> String {
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_handler_that_panics_is_answered_with_our_envelope_and_no_word_of_the_panic() {
    let host = Host::new(Clock::manual(NOW));
    let answer = answer(&host, "models", event(), |_| async { panic!("the prompt") }).await;
    assert_eq!(answer.status(), 500);
    let text = text(answer).await;
    assert!(text.contains(r#""code":"internal_error""#) && !text.contains("prompt"), "{text}");
    assert!(host.running.is_empty());
}

#[tokio::test]
async fn a_handler_that_would_be_ended_by_the_platform_is_answered_504_before() {
    let host = Host::new(Clock::manual(NOW));
    let mut answer = Box::pin(answer(&host, "models", event(), |_| std::future::pending()));
    host.clock.advance_ms(27_999);
    assert!(answer.as_mut().now_or_never().is_none());
    host.clock.advance_ms(1);
    let answer = answer.await;
    assert_eq!(answer.status(), 504);
    assert!(text(answer).await.contains(r#""code":"upstream_timeout""#));
    assert!(host.running.is_empty());
}

#[tokio::test]
async fn a_streamed_answer_that_fails_panics_or_runs_out_of_time_ends_with_the_word_that_says_so() {
    let last = |end: &'static str| async move {
        let host = Host::new(Clock::manual(NOW));
        let clock = host.clock.clone();
        let answer = answer(&host, "usage", event(), |request| async move {
            Ok(Response::streamed("text/csv", &request, "cut", move |sender| async move {
                sender.send("a line\n".into()).await.unwrap();
                match end {
                    "well" => Ok(()),
                    "failed" => Err(ApiError::internal("x")),
                    "late" => {
                        clock.advance_ms(24_000);
                        std::future::pending().await
                    }
                    _ => panic!("the prompt"),
                }
            }))
        })
        .await;
        assert_eq!(answer.status(), 200);
        let text = text(answer).await;
        host.running.close();
        host.running.wait().await;
        text
    };
    assert_eq!(last("well").await, "a line\n");
    for end in ["failed", "late", "panicked"] {
        assert_eq!(last(end).await, "a line\ncut", "{end}");
    }
}
