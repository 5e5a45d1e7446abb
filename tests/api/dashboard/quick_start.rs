//! `/dashboard/quick-start`: what it says works as it stands, and holds no key.

use gateway_core::settings::Settings;
use serde_json::Value;
use support::{Answer, TestGateway};

const PAGE: &str = "/dashboard/quick-start";

/// The text of an example, as the copy button copies it.
fn example(page: &Answer, id: &str) -> String {
    let (_, text) = page.text.split_once(&format!("<code id=\"{id}\">")).unwrap();
    let text = text.split_once("</code>").unwrap().0;
    text.replace("&#34;", "\"").replace("&#39;", "'").replace("&#38;", "&")
}

/// Does what a curl example says, with this key.
async fn run(curl: &str, key: &str) -> Answer {
    let curl = curl.replace("$MODELSWITCH_API_KEY", key).replace("\\\n", "");
    let address = curl.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let body = curl.split_once("-d '").map(|(_, rest)| rest.strip_suffix('\'').unwrap().to_owned());
    let request = body.map_or_else(|| http.get(address), |body| http.post(address).body(body));
    let headers = curl.split("-H \"").skip(1).map(|header| header.split('"').next().unwrap().split_once(": ").unwrap());
    Answer::of(headers.fold(request, |request, (name, value)| request.header(name, value))).await
}

#[tokio::test]
async fn every_example_works_as_it_is_copied() {
    let gateway = TestGateway::start().await;
    let page = gateway.signed_in().await.get(PAGE).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let key = gateway.gateway.first_account.as_ref().unwrap().proxy_key.reveal();
    let answer = run(&example(&page, "curl"), key).await;
    assert_eq!((answer.status, &answer.json()["choices"][0]["message"]["content"]), (200, &Value::from("Hello there")));
    let answer = run(&example(&page, "check"), key).await;
    assert_eq!((answer.status, answer.text.starts_with(r#"{"data":{"label":"#)), (200, true), "{}", answer.text);
    assert_eq!(run(&example(&page, "models"), key).await.json()["object"], "list");
    assert_eq!(example(&page, "base"), format!("{}/v1", gateway.gateway.url));
    for id in ["python", "node"] {
        let text = example(&page, id);
        assert!(text.contains(&format!("\"{}/v1\"", gateway.gateway.url)) && text.contains("\"lab/chat\""), "{text}");
    }
    assert!(example(&page, "embeddings").contains("\"model\": \"lab/embed\""));
    assert!(example(&page, "stream").contains("\"stream\": true"));
}

#[tokio::test]
async fn each_example_has_a_copy_button_of_its_own_and_none_has_a_key() {
    let gateway = TestGateway::start().await;
    let page = gateway.signed_in().await.get(PAGE).await;
    let ids: Vec<_> = page.text.split("<code id=\"").skip(1).map(|part| part.split('"').next().unwrap()).collect();
    assert_eq!(ids, ["environment", "base", "curl", "python", "node", "stream", "embeddings", "check", "models"]);
    for id in &ids {
        assert!(page.text.contains(&format!("data-copy=\"{id}\"")), "{id}");
    }
    assert_eq!(page.text.matches(" hidden>Copy</button>").count(), ids.len(), "hidden where there is no script");
    assert!(page.text.contains("href=\"/dashboard/keys\"") && page.text.contains("ms-YOUR_KEY"));
    let first = gateway.gateway.first_account.as_ref().unwrap();
    for key in [&first.proxy_key, &first.billing_key] {
        assert!(!page.text.contains(&key.reveal()[3..8]), "not even its beginning");
    }
}

#[tokio::test]
async fn where_only_the_echo_answers_the_page_says_so() {
    let settings = Settings::parse(br#"{"providers":{"modelswitch":{}}}"#).unwrap();
    let gateway = TestGateway::start_with(|options| options.settings = Some(settings)).await;
    let page = gateway.signed_in().await.get(PAGE).await;
    let said = "<code>modelswitch/echo</code> answers with your own words";
    assert!(page.text.contains(said) && !page.text.contains("id=\"embeddings\""), "{}", page.text);
}
