//! The runtime's connection breaks amid a stream: the runtime drops the answer, and what a client used is charged all the
//! same before the process may be frozen.

use std::sync::Arc;

use gateway_core::money::Nanos;
use support::{Break, Invocation, NEXT, Reply, chat_stream, lambda::Function};
use tokio::sync::Semaphore;

use crate::scene::{SETTLED, Scene};

/// 11 input tokens at 0.10 USD and 2 output tokens at 0.40 USD per million.
const COST: Nanos = Nanos(1900);

/// Begins a stream whose provider says one word, and the rest when the test lets it.
async fn begun(scene: &Scene, platform_id: &str) -> (Invocation, Arc<Semaphore>) {
    let go = Arc::new(Semaphore::new(0));
    scene.provider.will(Reply::Paused(chat_stream(&["Hello", " there"], 11, 2), 1, go.clone()));
    let mut stream = scene.stream(platform_id);
    stream.holds("Hello").await;
    (stream, go)
}

/// Whether the last that happened is that a request was settled, and then the next event asked for.
fn settled_and_then_asked(scene: &Scene) -> bool {
    scene.journal.read().ends_with(&[SETTLED[0], SETTLED[1], NEXT].map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_broken_off_is_settled_before_the_next_event_is_asked_for() {
    for how in [Break::Close, Break::AcceptAndClose] {
        let scene = Scene::start(Function::Chat, 1).await;
        let (stream, go) = begun(&scene, "one").await;
        stream.break_off(how);
        go.add_permits(1);
        scene.api.asked(2).await;
        assert!(settled_and_then_asked(&scene), "{how:?}: {:?}", scene.journal.read());
        let charged = scene.charged().await;
        assert_eq!(charged.iter().map(|entry| entry.amount).collect::<Vec<_>>(), [-COST], "{how:?}");
        assert!(!charged[0].served.as_ref().unwrap().metered.estimated, "its provider was read to the end");

        let answer = scene.stream("two").ended().await;
        assert_eq!(answer.prelude["statusCode"], 200, "the process goes on");
        assert!(answer.text.ends_with("data: [DONE]\n\n"), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_invocations_go_on_while_one_that_is_broken_off_is_read_to_its_end() {
    let scene = Scene::start(Function::Chat, 2).await;
    let (stream, go) = begun(&scene, "one").await;
    stream.break_off(Break::Close);
    for platform_id in ["two", "three"] {
        let answer = scene.stream(platform_id).ended().await;
        assert!(answer.text.ends_with("data: [DONE]\n\n"), "{}", answer.text);
    }
    // Of the two that ask, one has an invocation that has not ended.
    scene.api.asked(4).await;
    assert_eq!(scene.api.asked_so_far(), 4);
    go.add_permits(1);
    scene.api.asked(5).await;
    assert!(settled_and_then_asked(&scene), "{:?}", scene.journal.read());
    assert_eq!(scene.charged().await.len(), 3);

    let (four, go_four) = begun(&scene, "four").await;
    let (five, go_five) = begun(&scene, "five").await;
    for (stream, go) in [(four, go_four), (five, go_five)] {
        go.add_permits(1);
        assert_eq!(stream.ended().await.prelude["statusCode"], 200, "both go on, side by side");
    }
}
