use std::future::pending;

use futures_util::StreamExt;
use gateway_core::{
    meter::Due,
    pricing::{Markup, Prices},
    usage::Usage,
};
use tokio::sync::oneshot;

use super::*;

const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
const WORD: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";
const FINISH: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const IDLE: Duration = Duration::from_secs(60);

/// What a provider sends next: bytes, or the cut of its connection.
type Sent = Result<Bytes, std::io::Error>;

/// A stream in memory, so that time can be paused: what goes into the sender comes out of it.
fn provider() -> (mpsc::UnboundedSender<Sent>, ProviderStream) {
    let (sender, receiver) = mpsc::unbounded_channel::<Sent>();
    let body = futures_util::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let response = http::Response::new(reqwest::Body::wrap_stream(body));
    (sender, ProviderStream::of_response("lab", response.into(), IDLE * 2, IDLE))
}

fn meter() -> StreamMeter {
    StreamMeter::new(false, 1, Prices::default(), Markup::default())
}

fn sent(text: &str) -> Sent {
    Ok(Bytes::copy_from_slice(text.as_bytes()))
}

/// Relays what is sent, and gives what the client got and how it ended.
async fn relayed(pieces: Vec<Sent>) -> (String, StreamEnd) {
    let (sender, stream) = provider();
    pieces.into_iter().for_each(|piece| sender.send(piece).unwrap());
    drop(sender);
    run(stream).await
}

async fn run(stream: ProviderStream) -> (String, StreamEnd) {
    let (text, end, _) = run_until(stream, pending()).await;
    (text, end)
}

/// The same until `cut`, and why it ended if not well.
async fn run_until(
    stream: ProviderStream,
    cut: impl Future<Output = ()> + Send + 'static,
) -> (String, StreamEnd, Option<UpstreamError>) {
    let (settled, end) = oneshot::channel();
    let mut relay = relay(stream, meter(), cut, async move |end, failure| settled.send((end, failure)).unwrap());
    let mut text = String::new();
    while let Some(bytes) = relay.frames.recv().await {
        text.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    relay.task.await.unwrap();
    let (end, failure) = end.await.unwrap();
    (text, end, failure)
}

/// The code and message of the last frame, which must be an error that OpenAI's SDKs raise on.
fn last_error(text: &str) -> (String, String) {
    let frame = text.trim_end().rsplit("\n\n").next().unwrap();
    let frame: serde_json::Value = serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(frame["choices"][0]["finish_reason"], "error");
    assert_eq!(frame["error"]["type"], "api_error");
    let text = |field: &str| frame["error"][field].as_str().unwrap().to_owned();
    (text("code"), text("message"))
}

#[tokio::test]
async fn the_stream_arrives_as_it_came_byte_by_byte_too() {
    let whole = [ROLE, WORD, ": note\n\n", FINISH, DONE].concat();
    let (text, end) = relayed(whole.bytes().map(|byte| Ok(Bytes::copy_from_slice(&[byte]))).collect()).await;
    assert_eq!(text, whole);
    assert_eq!((end.finished, end.generated.bytes(), end.error), (true, 2, None));
}

#[tokio::test]
async fn the_client_s_stream_ends_only_after_everything_is_settled() {
    let (sender, stream) = provider();
    [ROLE, WORD, FINISH, USAGE, DONE].into_iter().for_each(|frame| sender.send(sent(frame)).unwrap());
    drop(sender);
    let (settle, may_settle) = oneshot::channel::<()>();
    let mut relay = relay(stream, meter(), pending(), async move |_, _| may_settle.await.unwrap());
    let mut last = Bytes::new();
    while last != DONE {
        last = relay.frames.recv().await.unwrap();
    }
    crate::scripted::others_run().await;
    assert_eq!(relay.frames.try_recv(), Err(mpsc::error::TryRecvError::Empty), "still open");
    settle.send(()).unwrap();
    assert_eq!(relay.frames.recv().await, None);
    relay.task.await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_changes_nothing_about_what_is_settled() {
    let (sender, stream) = provider();
    let (settled, end) = oneshot::channel();
    let relay = relay(stream, meter(), pending(), async move |end, _| settled.send(end).unwrap());
    sender.send(sent(WORD)).unwrap();
    drop(relay.frames);
    let many = (0..100).map(|_| WORD).chain([FINISH, USAGE, DONE]);
    many.for_each(|frame| sender.send(sent(frame)).unwrap());
    drop(sender);
    relay.task.await.unwrap();
    let end = end.await.unwrap();
    assert_eq!(end.usage, Some(Usage { input: 3, output: 1, ..Usage::default() }));
    assert!(end.finished);
}

#[tokio::test(start_paused = true)]
async fn silence_is_filled_with_comments_between_frames() {
    let (sender, stream) = provider();
    let mut relay = relay(stream, meter(), pending(), async |_, _| {});
    sender.send(sent(WORD)).unwrap();
    assert_eq!(relay.frames.recv().await.unwrap(), WORD);
    let (half, rest) = FINISH.split_at(20);
    sender.send(sent(half)).unwrap();
    let before = Instant::now();
    for _ in 0..3 {
        assert_eq!(relay.frames.recv().await.unwrap(), ": keep-alive\n\n");
    }
    assert_eq!(before.elapsed().as_secs(), 45);
    sender.send(sent(rest)).unwrap();
    assert_eq!(relay.frames.recv().await.unwrap(), FINISH);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_goes_silent_is_a_timeout_after_its_last_byte() {
    let (sender, stream) = provider();
    let before = Instant::now();
    [ROLE, WORD].into_iter().for_each(|frame| sender.send(sent(frame)).unwrap());
    let (text, end) = run(stream).await;
    assert_eq!(before.elapsed(), IDLE);
    assert_eq!(text.matches(": keep-alive").count(), 3);
    assert_eq!(last_error(&text).0, "upstream_timeout");
    assert_eq!((end.finished, end.due()), (false, Due::Nothing));
    assert_eq!(end.error.as_deref(), Some("lab took too long: no byte came for too long"));
}

#[tokio::test(start_paused = true)]
async fn a_provider_may_take_longer_for_its_first_byte() {
    let (sender, stream) = provider();
    let before = Instant::now();
    let (text, _) = run(stream).await;
    assert_eq!(before.elapsed(), IDLE * 2);
    assert_eq!(last_error(&text).0, "upstream_timeout");
    drop(sender);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_for_minutes_is_gone_and_the_stream_is_settled() {
    let (sender, stream) = provider();
    let (settled, end) = oneshot::channel();
    let relay = relay(stream, meter(), pending(), async move |end, _| settled.send(end).unwrap());
    (0..100).map(|_| WORD).chain([FINISH, USAGE]).for_each(|frame| sender.send(sent(frame)).unwrap());
    drop(sender);
    relay.task.await.unwrap();
    assert!(end.await.unwrap().finished);
    drop(relay.frames);
}

#[tokio::test]
async fn a_cut_is_told_in_a_last_frame_and_costs_nothing() {
    let cut = || Err(std::io::Error::other("secret"));
    for pieces in [
        vec![sent(WORD)],
        vec![sent(WORD), cut()],
        vec![sent(WORD), sent("data: {\"choices\":[{\"delta\":{\"con"), cut()],
    ] {
        let (text, end) = relayed(pieces).await;
        assert!(text.starts_with(&format!("{WORD}data: {{\"choices\"")), "{text}");
        assert_eq!(last_error(&text).0, "upstream_error");
        assert_eq!(end.due(), Due::Nothing);
        assert!(!format!("{text}{end:?}").contains("secret"));
    }
}

#[tokio::test]
async fn the_provider_s_own_error_frame_becomes_ours() {
    let error = "data: {\"error\":{\"message\":\"secret\",\"code\":\"server_error\"}}\n\n";
    let (text, end) = relayed(vec![sent(WORD), sent(error), sent(WORD)]).await;
    assert_eq!(last_error(&text).1, "The provider lab failed in the middle of its answer.");
    assert!(!text.contains("secret") && text.matches("hi").count() == 1, "{text}");
    assert_eq!(end.error.as_deref(), Some("an error in its answer (server_error)"));
}

#[tokio::test]
async fn a_connection_that_dies_after_the_end_is_no_failure() {
    let cut = Err(std::io::Error::other("reset"));
    let (text, end) = relayed(vec![sent(WORD), sent(FINISH), sent(USAGE), cut]).await;
    assert_eq!(text, [WORD, FINISH].concat());
    assert!(end.finished && end.error.is_none());
}

#[tokio::test]
async fn a_stream_that_runs_out_of_time_is_cut_told_so_and_what_was_counted_or_generated_is_due() {
    for (frames, due) in [
        (vec![ROLE, WORD], Due::Uncounted),
        (vec![ROLE, WORD, USAGE], Due::Partly(Usage { input: 3, output: 1, ..Usage::default() })),
        (vec![ROLE], Due::Nothing),
    ] {
        let (sender, stream) = provider();
        frames.into_iter().for_each(|frame| sender.send(sent(frame)).unwrap());
        let (text, end, failure) = run_until(stream, crate::scripted::others_run()).await;
        assert!(sender.is_closed(), "the provider was told");
        assert_eq!(last_error(&text), ("upstream_timeout".to_owned(), "The request took too long.".to_owned()));
        assert_eq!((end.due(), failure), (due, Some(UpstreamError::OutOfTime)));
    }
}

#[tokio::test]
async fn a_stream_that_is_finished_when_time_runs_out_is_no_failure() {
    let (sender, stream) = provider();
    [WORD, FINISH, USAGE].into_iter().for_each(|frame| sender.send(sent(frame)).unwrap());
    let (text, end, failure) = run_until(stream, crate::scripted::others_run()).await;
    assert_eq!(text, [WORD, FINISH].concat());
    assert_eq!((end.due(), failure), (Due::Counted(Usage { input: 3, output: 1, ..Usage::default() }), None));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_does_not_keep_a_stream_beyond_its_time() {
    let (sender, stream) = provider();
    let (settled, end) = oneshot::channel();
    (0..100).for_each(|_| sender.send(sent(WORD)).unwrap());
    let before = Instant::now();
    let cut = tokio::time::sleep(Duration::from_secs(10));
    let relay = relay(stream, meter(), cut, async move |end, _| settled.send(end).unwrap());
    assert_eq!(end.await.unwrap().due(), Due::Uncounted);
    assert_eq!(before.elapsed(), Duration::from_secs(10), "settled at once");
    relay.task.await.unwrap();
    assert_eq!(before.elapsed(), Duration::from_secs(10) + LAST_WORD);
    drop(relay.frames);
}

#[tokio::test]
async fn a_panic_in_the_midst_ends_the_stream_with_our_error_and_costs_nothing() {
    let body = futures_util::stream::iter([sent(WORD)]).chain(futures_util::stream::poll_fn(|_| panic!("the prompt")));
    let response = http::Response::new(reqwest::Body::wrap_stream(body));
    let stream = ProviderStream::of_response("lab", response.into(), IDLE, IDLE);
    let (text, end, failure) = run_until(stream, pending()).await;
    assert!(text.starts_with(WORD) && !text.contains("prompt"), "{text}");
    assert_eq!(last_error(&text).0, "internal_error");
    assert_eq!((end.due(), failure), (Due::Nothing, Some(UpstreamError::Panicked)));
}
