use gateway_core::{
    catalogue::Dialect,
    catalogue::Endpoint,
    error::{ApiError, ErrorCode},
    meter::{StreamMeter, answer_end},
    pricing::{Markup, Prices},
    usage,
};
use serde_json::json;

use super::*;
use crate::{
    Credentials, Secrets, Timeouts, Upstream, relay,
    scripted::{endpoint, request_id},
};

fn upstream() -> (Upstream, Vec<Endpoint>) {
    let mut echo = endpoint("");
    echo.provider.dialect = Dialect::Echo;
    (Upstream::new(Timeouts::default(), Credentials::fixed(Secrets::new())), vec![echo])
}

async fn whole(body: Value) -> Result<Value, UpstreamError> {
    let (upstream, endpoints) = upstream();
    let body = |_: &Endpoint| body.to_string().into_bytes();
    let (_, answer) = upstream.answer(&request_id(), &endpoints, "chat/completions", body).await?;
    assert!(answer_end(&answer).finished);
    Ok(serde_json::from_slice(&answer).unwrap())
}

/// The frames that a client gets through the relay, and what the meter read.
async fn streamed(mut body: Value) -> (Vec<Value>, usage::Usage) {
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let (upstream, endpoints) = upstream();
    let body = |_: &Endpoint| body.to_string().into_bytes();
    let (_, stream) = upstream.stream(&request_id(), &endpoints, "chat/completions", body).await.unwrap();
    let (sender, end) = tokio::sync::oneshot::channel();
    let meter = StreamMeter::new(true, 1, Prices::default(), Markup::default());
    let mut relay = relay(stream, meter, std::future::pending(), async move |end, _| sender.send(end).unwrap());
    let mut text = String::new();
    while let Some(bytes) = relay.frames.recv().await {
        text.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    let frames = text.strip_suffix("data: [DONE]\n\n").unwrap().split_terminator("\n\n");
    let frames = frames.map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap()).collect();
    (frames, end.await.unwrap().usage.unwrap())
}

fn chat(content: Value) -> Value {
    json!({"model": "m", "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": content}, {"role": "assistant", "content": "x"}]})
}

fn text_of(frames: &[Value], index: u64) -> String {
    let choices = frames.iter().map(|frame| &frame["choices"][0]).filter(|choice| choice["index"] == index);
    choices.filter_map(|choice| choice["delta"]["content"].as_str()).collect()
}

#[tokio::test]
async fn the_answer_has_openai_s_exact_shape() {
    let (upstream, endpoints) = upstream();
    let body = |_: &Endpoint| chat(json!("Hello there!")).to_string().into_bytes();
    let (_, answer) = upstream.answer(&request_id(), &endpoints, "chat/completions", body).await.unwrap();
    let id = request_id();
    let expected = format!(
        r#"{{"id":"chatcmpl-{id}","object":"chat.completion","created":1790000000,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"Hello there!","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,"prompt_tokens_details":{{"cached_tokens":0,"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0}}}}}}"#
    );
    assert_eq!(std::str::from_utf8(&answer).unwrap(), expected);
}

#[tokio::test]
async fn a_stream_says_the_same_word_by_word() {
    for text in ["Hello there, you!", "  two\n\n lines\t", "", "   ", "ein Wört"] {
        let (frames, usage) = streamed(chat(json!(text))).await;
        let words = text.split_whitespace().count();
        assert_eq!(frames.len(), words + 3, "role, words, finish, usage");
        let answer = whole(chat(json!(text))).await.unwrap();
        assert_eq!(answer["choices"][0]["message"]["content"], text_of(&frames, 0), "{text:?}");
        assert_eq!(frames[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(frames[words + 1]["choices"][0]["finish_reason"], "stop");
        assert_eq!((usage.input, usage.output), (3 + words as u64, words as u64));
    }
}

#[tokio::test]
async fn without_the_usage_chunk_no_frame_speaks_of_usage() {
    let (upstream, endpoints) = upstream();
    let body = |_: &Endpoint| {
        json!({"messages": [{"role": "user", "content": "hi"}], "stream": true}).to_string().into_bytes()
    };
    let (_, mut stream) = upstream.stream(&request_id(), &endpoints, "chat/completions", body).await.unwrap();
    let mut frames = 0;
    while let Some(frame) = stream.next().await {
        assert!(!String::from_utf8_lossy(&frame.unwrap()).contains("usage"));
        frames += 1;
    }
    assert_eq!(frames, 4, "role, word, finish, [DONE]");
}

#[tokio::test]
async fn limits_choices_and_text_parts_are_honoured() {
    let parts = json!([{"type": "text", "text": "one two"}, {"type": "image_url", "image_url": {}}, {"type": "text", "text": " three"}]);
    let mut body = chat(parts);
    assert_eq!(whole(body.clone()).await.unwrap()["choices"][0]["message"]["content"], "one two three");
    body["n"] = json!(2);
    body["max_completion_tokens"] = json!(2);
    let answer = whole(body.clone()).await.unwrap();
    assert_eq!(answer["choices"].as_array().unwrap().len(), 2);
    assert_eq!(answer["choices"][1]["finish_reason"], "length");
    assert_eq!(answer["choices"][1]["message"]["content"], "one two ");
    assert_eq!(answer["usage"]["completion_tokens"], 4);
    let (frames, _) = streamed(body).await;
    assert_eq!((text_of(&frames, 0), text_of(&frames, 1)), ("one two ".to_owned(), "one two ".to_owned()));
}

#[tokio::test]
async fn the_model_s_own_maximum_holds_without_a_limit() {
    let answer = whole(chat(json!("x ".repeat(500)))).await.unwrap();
    assert_eq!(answer["usage"]["completion_tokens"], 100);
}

#[tokio::test]
async fn what_cannot_be_echoed_is_the_client_s_own_error() {
    let (upstream, endpoints) = upstream();
    let body = |_: &Endpoint| b"{\"input\":\"x\"}".to_vec();
    let error = upstream.answer(&request_id(), &endpoints, "embeddings", body).await.unwrap_err();
    assert_eq!(ApiError::from(error).code, ErrorCode::InvalidParameter);
    let mut large = chat(json!("x".repeat(1024 * 1024)));
    large["n"] = json!(128);
    for body in [large, json!({"messages": [1]})] {
        assert!(!whole(body).await.unwrap_err().is_retryable());
    }
}
