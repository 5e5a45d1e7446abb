//! A panic ends its request and nothing else, and nobody gets to read its words.

use std::time::Duration;

use serde_json::json;
use support::lambda::Function;

use crate::scene::{LONG, Scene, lines, request_line};

/// What a panic's message holds, as it could hold a prompt.
const WORDS: &str = "the words of the prompt";

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_is_answered_and_logged_without_a_word_of_it_and_the_process_goes_on() {
    for function in [Function::Told, Function::ToldStreaming] {
        let scene = Scene::start(function, 1).await;
        let answer = scene.invoke("one", &format!("panics: {WORDS}"), LONG).ended().await;
        assert_eq!((answer.to.as_str(), answer.status()), ("response", 500), "{function:?}");
        assert_eq!(answer.envelope()["error"]["code"], "internal_error");
        assert_eq!(scene.invoke("two", "well", LONG).ended().await.status(), 200);
        scene.api.asked(3).await;

        let output = scene.process.kill();
        assert!(!output.contains(WORDS) && !answer.text.contains(WORDS), "{output}");
        let line = request_line(&output);
        assert_eq!(
            (&line["error"], &line["errors"], &line["status"]),
            (&json!("internal_error"), &json!(1), &json!(500))
        );
        let place = lines(&output).find(|line| line["message"] == "panicked").unwrap();
        assert!(place["at"].as_str().unwrap().contains("lambda.rs:"), "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_amid_a_stream_ends_it_with_the_word_that_says_so() {
    let scene = Scene::start(Function::ToldStreaming, 1).await;
    let answer = scene.invoke("one", &format!("begins and panics: {WORDS}"), LONG).ended().await;
    assert_eq!((answer.status(), answer.text.as_str()), (200, "begun\ncut"));
    scene.api.asked(2).await;
    let output = scene.process.kill();
    assert!(!output.contains(WORDS), "{output}");
    assert_eq!(request_line(&output)["error"], "internal_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorizer_that_panics_is_our_failure_whatever_it_says() {
    let scene = Scene::start(Function::Authorizer, 1).await;
    let answer = scene.api.invoke(&json!({"panics": true}), LONG).ended().await;
    assert_eq!(answer.to, "error");
    assert_eq!(answer.json()["errorMessage"], "the handler panicked", "and so no refusal, and no policy");
    let answer = scene.api.invoke(&json!({"panics": false}), Duration::from_secs(29)).ended().await;
    assert_eq!((answer.to.as_str(), answer.json()), ("response", json!({"panics": false})));
    scene.api.asked(3).await;
    let output = scene.process.kill();
    assert!(lines(&output).any(|line| line["error"] == "internal_error" && line["errors"] == 1), "{output}");
}
