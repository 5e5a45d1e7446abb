//! `/dashboard/models`: the catalogue as it is here, searched by the address.

use gateway_core::settings::Settings;
use http::Method;
use serde_json::json;
use support::{Answer, Browser, TestGateway};

const PAGE: &str = "/dashboard/models";
const HTML: &str = "<img src=x onerror=alert(1)>\"'";

/// The ids of the models on a page.
fn ids(page: &Answer) -> Vec<String> {
    let rows = page.text.split("<th scope=\"row\"><code>").skip(1);
    rows.map(|row| row.split('<').next().unwrap().to_owned()).collect()
}

async fn shown(browser: &Browser, query: &[(&str, &str)]) -> Answer {
    let page = browser.open_with(PAGE, query).await;
    assert_eq!(page.status, 200, "{query:?}: {}", page.text);
    page
}

fn found(page: &Answer) -> &str {
    page.text.split_once("role=\"status\">").unwrap().1.split('<').next().unwrap()
}

#[tokio::test]
async fn models_that_are_served_have_their_prices_per_million_tokens() {
    let gateway = TestGateway::start().await;
    let page = gateway.signed_in().await.get(PAGE).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!(ids(&page), ["lab/chat", "lab/embed", "lab/small", "modelswitch/echo", "spare/chat"]);
    assert_eq!(found(&page), "5 models");
    assert!(page.text.contains("<p>5 of "), "{}", page.text);
    let row = page.text.split_once("<code>lab/chat</code>").unwrap().1.split("</tr>").next().unwrap();
    let expected = "</th><td>lab</td><td>Chat</td><td class=\"number\">128,000</td><td class=\"number\">0.10 USD</td>\
                    <td class=\"number\">Same as input</td><td class=\"number\">0.40 USD</td>";
    assert_eq!(row, expected);
}

#[tokio::test]
async fn all_that_is_known_is_searched_by_id_name_provider_and_kind() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let page = shown(&browser, &[("q", "  LAB small "), ("show", "")]).await;
    assert_eq!((ids(&page), found(&page)), (vec!["lab/small".to_owned()], "1 model"));
    let page = shown(&browser, &[("q", "lab"), ("kind", "embedding")]).await;
    assert_eq!(ids(&page), ["lab/embed"]);
    let page = shown(&browser, &[("q", "gpt-4o-mini")]).await;
    assert_eq!((ids(&page).len(), found(&page)), (0, "No models match."));
    assert!(page.text.contains("href=\"/dashboard/models?show=all\""), "{}", page.text);
    let page = shown(&browser, &[("q", "gpt-4o-mini openai"), ("show", "all")]).await;
    assert!(ids(&page).contains(&"gpt-4o-mini".to_owned()) && page.text.contains("<td>No</td>"), "{}", page.text);
    assert!(page.text.contains("0.15 USD") && page.text.contains("0.075 USD") && page.text.contains("0.60 USD"));
    let page = shown(&browser, &[("q", "lab/unpriced"), ("show", "all")]).await;
    assert!(page.text.contains("No price, so not available") && page.text.contains("<td>No</td>"));
    // What a search of a long input costs is another price.
    let page = shown(&browser, &[("q", "gpt-5.4"), ("show", "all")]).await;
    assert!(page.text.contains("over 272,000: 22.50 USD"), "{}", page.text);
    for (name, value) in [("kind", "poem"), ("show", "everything"), ("page", "0"), ("page", "x"), ("page", "999")] {
        assert_eq!(ids(&shown(&browser, &[(name, value)]).await).len(), 5, "{name}={value}");
    }
}

#[tokio::test]
async fn a_long_catalogue_is_paged_complete_and_small_on_the_wire() {
    let more: serde_json::Map<_, _> = (0..950)
        .map(|n| {
            (
                format!("modelswitch/echo-of-a-long-name-{n:03}"),
                json!({"provider": "modelswitch", "price": {"input": "0.1", "output": "0.4"}}),
            )
        })
        .collect();
    let settings = json!({"providers": {"modelswitch": {}}, "models": more}).to_string();
    let settings = Settings::parse(settings.as_bytes()).unwrap();
    let gateway = TestGateway::start_with(|options| options.settings = Some(settings)).await;
    let browser = gateway.signed_in().await;
    let (mut path, mut seen) = (format!("{PAGE}?q=echo&show=all"), Vec::new());
    loop {
        let page = browser.get(&path).await;
        assert_eq!(page.status, 200);
        assert!(found(&page).starts_with("951 models, "), "{}", found(&page));
        assert!(ids(&page).len() <= 100);
        seen.extend(ids(&page));
        let Some((before, _)) = page.text.split_once("\">Next</a>") else { break };
        path = before.rsplit_once("href=\"").unwrap().1.replace("&#38;", "&");
        assert!(path.contains("q=echo&show=all&page="), "{path}");
    }
    assert_eq!((seen.len(), seen.is_sorted()), (951, true));
    let page = browser.request(Method::GET, &format!("{PAGE}?show=all")).header("accept-encoding", "gzip");
    let page = page.send().await.unwrap();
    assert_eq!(page.headers()["content-encoding"], "gzip");
    assert!(page.bytes().await.unwrap().len() < 20_000);
}

#[tokio::test]
async fn a_search_that_runs_is_replaced_by_the_next_and_what_it_found_is_said_in_the_same_place() {
    let gateway = TestGateway::start().await;
    let page = gateway.signed_in().await.get(PAGE).await;
    let form = page.text.split_once("<form class=\"filters\"").unwrap().1.split('>').next().unwrap();
    // Whoever listens to a place hears what changes in it, not that it is another one.
    for attribute in ["hx-select-oob=\"#found:innerHTML\"", "hx-sync=\"replace\"", "hx-disable=\"find button\""] {
        assert!(form.contains(attribute), "{attribute}: {form}");
    }
}

#[tokio::test]
async fn html_in_a_search_or_a_model_s_name_is_text() {
    let model = json!({"provider": "modelswitch", "name": HTML, "price": {"input": "1", "output": "1"}});
    let settings = json!({"providers": {"modelswitch": {}}, "models": {"modelswitch/<b>": model}}).to_string();
    let settings = Settings::parse(settings.as_bytes()).unwrap();
    let gateway = TestGateway::start_with(|options| options.settings = Some(settings)).await;
    let page = shown(&gateway.signed_in().await, &[("q", HTML)]).await;
    assert_eq!(found(&page), "1 model", "{}", page.text);
    assert!(!page.text.contains("<img") && !page.text.contains("<b>"), "{}", page.text);
    assert_eq!(page.text.matches("&#60;img src=x onerror=alert(1)&#62;&#34;&#39;").count(), 2, "{}", page.text);
}
