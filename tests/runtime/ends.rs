//! What has to end: a request by the platform's deadline, a process by the platform's signal.

use std::time::Duration;

use support::{Reply, chat_stream, lambda::Function};

use crate::scene::{LONG, Scene, request_line};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_would_be_ended_at_the_platform_s_deadline_is_answered_504_before() {
    // All but a second of it is the handler's.
    let runs = Duration::from_secs(3);
    let hangs = async |function| {
        let scene = Scene::start(function, 1).await;
        let answer = scene.invoke("one", "hangs", runs).ended().await;
        assert_eq!((answer.to.as_str(), answer.status()), ("response", 504), "{function:?}");
        assert_eq!(answer.envelope()["error"]["code"], "upstream_timeout");
        assert_eq!(scene.invoke("two", "well", LONG).ended().await.status(), 200, "the process goes on");
    };
    tokio::join!(hangs(Function::Told), hangs(Function::ToldStreaming));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_to_end_cuts_its_streams_off_and_settles_them() {
    let mut scene = Scene::start(Function::Chat, 1).await;
    scene.provider.will(Reply::HungStream(chat_stream(&["Hello", " there"], 11, 2)[..2].to_vec()));
    let mut stream = scene.stream("one");
    stream.holds("there").await;
    scene.process.terminate();
    let answer = stream.ended().await;
    assert_eq!(answer.last_event()["error"]["code"], "upstream_timeout", "{}", answer.text);

    let (well, output) = scene.ended().await;
    assert!(well, "{output}");
    let [charged] = &scene.charged().await[..] else { panic!("{:?}", scene.journal.read()) };
    let metered = charged.served.as_ref().unwrap().metered;
    assert!(metered.estimated && metered.usage.output == 2, "{metered:?}");
    assert_eq!(request_line(&output)["error"], "upstream_timeout");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_to_end_asks_for_nothing_more_while_it_finishes() {
    let mut scene = Scene::start(Function::ToldStreaming, 2).await;
    let longer = scene.invoke("one", "hangs", Duration::from_secs(3));
    let mut shorter = scene.invoke("two", "begins and hangs", LONG);
    shorter.holds("begun").await;
    scene.process.terminate();
    assert_eq!(shorter.ended().await.text, "begun\ncut");
    assert_eq!(longer.ended().await.status(), 504);
    let (well, output) = scene.ended().await;
    assert!(well, "{output}");
    assert_eq!(scene.api.asked_so_far(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_waits_for_events_ends_at_once_when_it_is_told_to() {
    let mut scene = Scene::start(Function::Told, 2).await;
    scene.process.terminate();
    let (well, output) = scene.ended().await;
    assert!(well, "{output}");
}
