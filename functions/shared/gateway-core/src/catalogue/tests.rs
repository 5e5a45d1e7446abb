use super::*;
use crate::{money::Picos, settings::Settings};

fn catalogue(json: &str) -> Catalogue {
    Catalogue::new(Settings::parse(json.as_bytes()).unwrap()).unwrap()
}

fn refused(json: &str) -> String {
    Catalogue::new(Settings::parse(json.as_bytes()).unwrap()).unwrap_err().to_string()
}

fn served(catalogue: &Catalogue) -> Vec<String> {
    catalogue.models().into_iter().map(|model| model.id).collect()
}

#[test]
fn only_configured_providers_serve() {
    let nobody = catalogue("{}");
    assert!(served(&nobody).is_empty());
    assert!(nobody.known().iter().any(|model| model.id == "gpt-4o") && nobody.known().len() > 100);
    assert!(nobody.model("gpt-4o").is_some(), "known all the same");

    let open_ai = catalogue(r#"{"providers":{"openai":{}}}"#);
    let models = open_ai.models();
    assert!(models.iter().any(|model| model.id == "gpt-4o") && models.iter().all(|model| model.provider == "openai"));
    assert!(models.is_sorted_by(|a, b| a.id < b.id));
    let provider = open_ai.provider("openai").unwrap();
    assert_eq!(provider.base_url, "https://api.openai.com/v1");
    assert_eq!(provider.credential.as_deref(), Some("openai"));
    assert_eq!(open_ai.provider("groq"), None);
}

#[test]
fn every_model_answers_to_its_provider_s_name_too() {
    let catalogue = catalogue(r#"{"providers":{"lab":{"base_url":"http://h/v1"}},"models":{"my":{"provider":"lab"}}}"#);
    for (asked, id) in [
        ("openai/gpt-4o", "gpt-4o"),
        ("groq/openai/gpt-oss-120b", "groq/openai/gpt-oss-120b"),
        ("groq/groq/openai/gpt-oss-120b", "groq/openai/gpt-oss-120b"),
        ("lab/my", "my"),
        ("modelswitch/echo", "modelswitch/echo"),
    ] {
        assert_eq!(catalogue.model(asked).unwrap().id, id);
    }
    for unknown in ["groq/gpt-4o", "openai/", "/gpt-4o", "openai/my", "GPT-4o", ""] {
        assert_eq!(catalogue.model(unknown), None, "{unknown}");
    }
}

#[test]
fn the_echo_needs_no_address_and_no_key() {
    let catalogue = catalogue(r#"{"providers":{"modelswitch":{}}}"#);
    assert_eq!(served(&catalogue), ["modelswitch/echo"]);
    let provider = catalogue.provider("modelswitch").unwrap();
    assert_eq!((provider.dialect, provider.base_url.as_str(), &provider.credential), (Dialect::Echo, "", &None));
}

#[test]
fn an_own_model_is_served_at_its_own_price() {
    let catalogue = catalogue(
        r#"{"markup_percent":10,
            "providers":{"lab":{"base_url":"http://127.0.0.1:8000/v1/","headers":{"x-a":"b"}}},
            "models":{"lab/qwen":{"provider":"lab","kind":"chat","context_length":32768,"max_output_tokens":4096,
                "price":{"input":0.10,"output":0.20,"cache_read":0.01}},
              "free":{"provider":"lab","upstream_id":"q","markup_percent":0,"price":{"input":0,"output":0}},
              "vectors":{"provider":"lab","kind":"embedding","price":{"input":0.02}},
              "unpriced":{"provider":"lab"}}}"#,
    );
    assert_eq!(served(&catalogue), ["free", "lab/qwen", "vectors"], "without a price it is not served");
    assert!(catalogue.model("unpriced").is_some());
    let model = catalogue.model("lab/qwen").unwrap();
    assert_eq!((model.upstream_id.as_str(), model.context_length), ("qwen", Some(32768)));
    let base = model.prices.as_ref().unwrap().base;
    assert_eq!((base.input, base.cache_read, base.output), (Picos(100_000), Picos(10_000), Picos(200_000)));
    assert_eq!((base.cache_write_1h, base.output_audio), (base.input, base.output));
    let shown = model.shown_pricing().unwrap();
    assert_eq!(
        serde_json::to_string(&shown).unwrap(),
        r#"{"prompt":"0.00000011","completion":"0.00000022","input_cache_read":"0.000000011"}"#
    );
    assert_eq!(catalogue.model("free").unwrap().shown_pricing().unwrap().prompt, "0");
    let provider = catalogue.provider("lab").unwrap();
    assert_eq!((provider.base_url.as_str(), &provider.credential), ("http://127.0.0.1:8000/v1", &None));
    assert_eq!(provider.headers, [("x-a".to_owned(), "b".to_owned())]);
    assert_eq!(catalogue.model("vectors").unwrap().output_modalities, ["embeddings"]);
}

#[test]
fn the_operator_s_word_comes_before_the_catalogue_s() {
    let catalogue = catalogue(
        r#"{"markup_percent":"12.5","providers":{"openai":{"credential":null},"lab":{"base_url":"https://h/v1","credential":"k"}},
            "models":{"openai/gpt-4.1":{"markup_percent":0,"price":{"input":3,"output":9}},"gpt-4o":{"enabled":false},
              "gpt-5":{"provider":"lab","upstream_id":"mine"},"gpt-5-mini":{"name":"Small"}}}"#,
    );
    let changed = catalogue.model("gpt-4.1").unwrap();
    assert_eq!(changed.markup, Markup::default());
    assert_eq!(changed.prices.as_ref().unwrap().base.cache_read, Picos(3_000_000), "the price changes as a whole");
    assert_eq!(changed.context_length, Some(1_047_576));
    let ids = served(&catalogue);
    assert!(!ids.contains(&"gpt-4o".to_owned()) && ids.contains(&"gpt-4o-2024-08-06".to_owned()));
    let moved = catalogue.model("gpt-5").unwrap();
    assert_eq!((moved.provider.as_str(), moved.upstream_id.as_str()), ("lab", "mine"));
    assert_eq!(moved.prices, None, "another provider's price is not this one's");
    let named = catalogue.model("gpt-5-mini").unwrap();
    assert_eq!((named.name.as_str(), named.markup), ("Small", Markup::parse_percent("12.5").unwrap()));
    assert_eq!(catalogue.provider("openai").unwrap().credential, None);
    assert_eq!(catalogue.provider("lab").unwrap().credential.as_deref(), Some("k"));
}

#[test]
fn an_alias_is_its_model_under_another_name() {
    let catalogue = catalogue(
        r#"{"markup_percent":10,"providers":{"openai":{"models":["gpt-4o","openai/gpt-4o-mini"]}},
            "models":{"fast":{"alias_of":"openai/gpt-4o-mini","markup_percent":5},"off":{"alias_of":"gpt-4o-mini","enabled":false},
              "gpt-4o":{"enabled":false},"gone":{"alias_of":"gpt-4o"}}}"#,
    );
    let fast = catalogue.model("fast").unwrap();
    let target = catalogue.model("gpt-4o-mini").unwrap();
    assert_eq!((fast.id.as_str(), &fast.upstream_id, &fast.prices), ("fast", &target.upstream_id, &target.prices));
    assert_eq!(fast.markup, Markup::parse_percent("5").unwrap());
    assert_eq!(served(&catalogue), ["fast", "gpt-4o-mini"], "an alias of a model that is off is off");
    assert_eq!(catalogue.model("openai/fast").unwrap().id, "fast");
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    let lab = r#""providers":{"lab":{"base_url":"http://h/v1"}}"#;
    for (json, expected) in [
        (r#"{"providers":{"lab":{}}}"#.to_owned(), "providers.lab.base_url: not a built-in provider"),
        (r#"{"providers":{"lab":{"base_url":"ftp://h"}}}"#.to_owned(), "providers.lab.base_url: write a URL"),
        (
            r#"{"providers":{"lab":{"base_url":"http:///v1"}}}"#.to_owned(),
            "providers.lab.base_url: the URL has no host",
        ),
        (
            r#"{"providers":{"lab":{"base_url":"http://u:p@h/v1"}}}"#.to_owned(),
            "providers.lab.base_url: write a plain URL",
        ),
        (r#"{"providers":{"a/b":{"base_url":"http://h"}}}"#.to_owned(), "providers.a/b: a provider's name"),
        (
            r#"{"providers":{"modelswitch":{"base_url":"http://h"}}}"#.to_owned(),
            "providers.modelswitch: this provider is inside",
        ),
        (
            r#"{"providers":{"openai":{"headers":{"Authorization":"x"}}}}"#.to_owned(),
            "providers.openai.headers.Authorization: the gateway sets",
        ),
        (
            r#"{"providers":{"openai":{"headers":{"x":"a\nb"}}}}"#.to_owned(),
            "providers.openai.headers.x: a header's value",
        ),
        (
            r#"{"providers":{"openai":{"models":["gpt-40"]}}}"#.to_owned(),
            "providers.openai.models: `openai` has no model `gpt-40`",
        ),
        (
            r#"{"providers":{"groq":{},"openai":{"models":["groq/openai/gpt-oss-20b"]}}}"#.to_owned(),
            "`openai` has no model",
        ),
        (r#"{"models":{"a":{"alias_of":"nothing"}}}"#.to_owned(), "models.a.alias_of: there is no model `nothing`"),
        (
            r#"{"models":{"a":{"alias_of":"b"},"b":{"alias_of":"gpt-4o"}}}"#.to_owned(),
            "models.a.alias_of: `b` is an alias itself",
        ),
        (r#"{"models":{"a":{"alias_of":"a"}}}"#.to_owned(), "models.a.alias_of: `a` is an alias itself"),
        (r#"{"models":{"a":{"alias_of":"gpt-4o","upstream_id":"x"}}}"#.to_owned(), "models.a: an alias has"),
        (r#"{"models":{"a":{}}}"#.to_owned(), "models.a.provider: the catalogue has no such model"),
        (r#"{"models":{"a":{"provider":"lab"}}}"#.to_owned(), "models.a.provider: `providers` has no `lab`"),
        (r#"{"models":{"a b":{"provider":"lab"}}}"#.to_owned(), "models.a b: a model's id"),
        (r#"{"models":{"gpt-4o":{},"openai/gpt-4o":{}}}"#.to_owned(), "this model is set twice"),
        (
            format!(r#"{{{lab},"models":{{"a":{{"provider":"lab","price":{{"input":1}}}}}}}}"#),
            "models.a.price.output: a chat model needs",
        ),
        (
            format!(r#"{{{lab},"models":{{"a":{{"provider":"lab","context_length":0}}}}}}"#),
            "models.a: a length is at least 1",
        ),
    ] {
        let error = refused(&json);
        assert!(error.starts_with("settings: ") && error.contains(expected), "{json}\n{error}");
    }
}
