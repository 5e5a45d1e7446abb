use proptest::prelude::*;

use super::*;
use crate::{
    catalogue::{Dialect, Model, ModelKind, Provider},
    error::ErrorCode,
    money::Picos,
    offer::{self, Offer},
    pricing::{self, Markup, Prices, Rates},
    usage::Usage,
};

pub(crate) fn endpoint(upstream_id: &str) -> Endpoint {
    let model = Model {
        id: "lab/m".to_owned(),
        name: "M".to_owned(),
        provider: "lab".to_owned(),
        upstream_id: upstream_id.to_owned(),
        kind: ModelKind::Chat,
        context_length: None,
        max_output_tokens: None,
        input_modalities: vec![],
        output_modalities: vec![],
        supported_parameters: vec![],
        prices: Some(Prices::default()),
        markup: Markup::default(),
    };
    let provider = Provider {
        name: "lab".to_owned(),
        dialect: Dialect::OpenAi,
        base_url: "http://127.0.0.1:1/v1".to_owned(),
        credential: None,
        headers: vec![],
        output_limits: OUTPUT_LIMITS,
    };
    Endpoint { model, prices: Prices::default(), provider }
}

fn parse(more: &str) -> Result<ChatRequest, ApiError> {
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{more}}}"#);
    ChatRequest::parse(body.as_bytes())
}

fn forwarded(request: &ChatRequest) -> String {
    String::from_utf8(request.for_endpoint(&endpoint("up"), None)).unwrap()
}

#[test]
fn null_is_as_good_as_no_field() {
    let fields = ["models", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n"];
    let nulls: String = fields.iter().map(|name| format!(r#","{name}":null"#)).collect();
    let request = parse(&nulls).unwrap();
    assert_eq!((request.stream, request.include_usage, request.choices), (false, false, 1));
    assert_eq!((request.max_output_tokens, request.fallbacks), (None, vec![]));
}

#[test]
fn what_the_gateway_reads_is_read() {
    let more = r#","models":["a","b"],"stream":true,"stream_options":{"include_usage":true},"n":2,"max_tokens":9,"max_completion_tokens":7"#;
    let request = parse(more).unwrap();
    assert_eq!(request.models(), ["m", "a", "b"]);
    assert_eq!((request.stream, request.include_usage, request.choices), (true, true, 2));
    assert_eq!(request.max_output_tokens, Some(7));
}

#[test]
fn a_field_of_the_wrong_type_is_named() {
    for (more, param) in [
        (r#","model":1"#, "model"),
        (r#","model":"""#, "model"),
        (r#","messages":{}"#, "messages"),
        (r#","messages":[ ]"#, "messages"),
        (r#","models":"a""#, "models"),
        (r#","models":[1]"#, "models"),
        (r#","stream":"true""#, "stream"),
        (r#","stream_options":[]"#, "stream_options"),
        (r#","stream_options":{"include_usage":1}"#, "stream_options.include_usage"),
        (r#","max_tokens":0"#, "max_tokens"),
        (r#","max_tokens":1.5"#, "max_tokens"),
        (r#","max_tokens":"9""#, "max_tokens"),
        (r#","max_completion_tokens":-1"#, "max_completion_tokens"),
        (r#","n":0"#, "n"),
        (r#","n":129"#, "n"),
        (r#","service_tier":"priority""#, "service_tier"),
        (r#","web_search_options":{}"#, "web_search_options"),
        (r#","search_parameters":{"mode":"auto"}"#, "search_parameters"),
        (r#","plugins":[{"id":"web"}]"#, "plugins"),
        (r#","preset":"x""#, "preset"),
        (r#","enable_search":true"#, "enable_search"),
        (r#","n_predict":9"#, "n_predict"),
        (r#","modalities":["text","image"]"#, "modalities"),
        (r#","modalities":"text""#, "modalities"),
        (r#","tools":[{"type":"web_search"}]"#, "tools"),
        (r#","tools":[{"type":"browser_search","type":"function"}]"#, "tools"),
        (r#","tools":[{"type":"function"},{"Type":"code_interpreter"}]"#, "tools"),
        (r#","tools":{}"#, "tools"),
        (r#","N":2"#, "N"),
        (r#","Max_Tokens":9"#, "Max_Tokens"),
        (r#","Model":"dear""#, "Model"),
        (r#","TOOLS":[]"#, "TOOLS"),
    ] {
        let error = parse(more).unwrap_err();
        assert_eq!((error.code, error.param.as_deref()), (ErrorCode::InvalidParameter, Some(param)), "{more}");
    }
    for (body, param) in [(r#"{"messages":[1]}"#, "model"), (r#"{"model":"m"}"#, "messages")] {
        let error = ChatRequest::parse(body.as_bytes()).unwrap_err();
        assert_eq!((error.code, error.param.as_deref()), (ErrorCode::MissingParameter, Some(param)), "{body}");
    }
    let many = format!(r#","models":{}"#, serde_json::to_string(&vec!["a"; 17]).unwrap());
    assert_eq!(parse(&many).unwrap_err().param.as_deref(), Some("models"));
}

#[test]
fn unknown_fields_and_odd_values_pass_byte_for_byte() {
    let more = r#","tools":[ {"x":1.0} ],"temperature":0.70,"x_new":{"a":[null]},"models":["a"]"#;
    let request = parse(more).unwrap();
    assert_eq!(
        forwarded(&request),
        r#"{"model":"up","messages":[{"role":"user","content":"hi"}],"tools":[ {"x":1.0} ],"temperature":0.70,"x_new":{"a":[null]}}"#
    );
}

#[test]
fn usage_is_asked_of_every_stream_and_other_stream_options_stay() {
    let asked = |more: &str| forwarded(&parse(more).unwrap());
    assert!(asked(r#","stream":true"#).ends_with(r#","stream":true,"stream_options":{"include_usage":true}}"#));
    let options = r#","stream_options":{"include_usage":false,"x": 1 },"stream":true"#;
    assert!(asked(options).contains(r#""stream_options":{"include_usage":true,"x":1},"#));
    assert!(!asked(r#","stream":false"#).contains("stream_options"));
}

#[test]
fn a_limit_is_told_in_the_field_that_the_provider_reads() {
    let old: &[&str] = &["max_tokens"];
    let new: &[&str] = &["max_completion_tokens"];
    let both: &[&str] = &["max_completion_tokens", "max_tokens"];
    for (limits, asked, told, expected) in [
        (both, "", None, ""),
        (both, "", Some(300), r#","max_completion_tokens":300"#),
        (old, "", Some(300), r#","max_tokens":300"#),
        (both, r#","max_tokens":900"#, None, r#","max_tokens":900"#),
        (both, r#","max_tokens":900"#, Some(300), r#","max_tokens":300"#),
        (
            both,
            r#","max_completion_tokens":900,"max_tokens":null"#,
            Some(300),
            r#","max_completion_tokens":300,"max_tokens":null"#,
        ),
        (old, r#","max_completion_tokens":900"#, None, r#","max_tokens":900"#),
        (new, r#","max_tokens":900"#, None, r#","max_completion_tokens":900"#),
        (old, r#","max_tokens":900,"max_completion_tokens":800"#, None, r#","max_tokens":800"#),
        (both, r#","max_tokens":700,"max_completion_tokens":800"#, None, r#","max_completion_tokens":700"#),
        (OUTPUT_LIMITS, r#","max_completion_tokens":9"#, None, r#","max_completion_tokens":9"#),
    ] {
        let mut endpoint = endpoint("m");
        endpoint.provider.output_limits = limits;
        let body = String::from_utf8(parse(asked).unwrap().for_endpoint(&endpoint, told)).unwrap();
        assert_eq!(
            body,
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{expected}}}"#),
            "{asked}"
        );
    }
}

const KNOWN: Option<Vocabulary> = Some(Vocabulary::O200k);

fn bytes(text: &str) -> u64 {
    text.len() as u64
}

/// A request of these messages and whatever else.
fn of(messages: &str, more: &str) -> ChatRequest {
    ChatRequest::parse(format!(r#"{{"model":"m","messages":{messages}{more}}}"#).as_bytes()).unwrap()
}

/// The bound by size, and that by bytes of the texts, of what `messages` and `more` come to beyond a plain request.
fn beyond_plain(messages: &str, more: &str, vocabulary: Option<Vocabulary>) -> (u64, u64) {
    let plain = of(r#"[{"role":"user","content":""}]"#, "");
    let request = of(messages, more);
    let counted = |request: &ChatRequest| request.input_counted(vocabulary, &mut bytes);
    (request.input_bound(vocabulary) - plain.input_bound(vocabulary), counted(&request) - counted(&plain))
}

#[test]
fn text_is_bounded_by_its_bytes_and_counted_where_that_is_less() {
    let text = r"caf\u00e9 ".repeat(1000);
    let request = of(&format!(r#"[{{"role":"user","content":"{text}"}}]"#), "");
    for vocabulary in [None, KNOWN] {
        assert!(request.input_bound(vocabulary) > bytes(&text));
        let unescaped = request.input_counted(vocabulary, &mut bytes);
        assert!((6_000..7_000).contains(&unescaped), "{unescaped}");
        let counted = request.input_counted(vocabulary, &mut |text| bytes(text) / 6);
        assert!((1_000..2_000).contains(&counted), "{counted}");
        assert_eq!(request.input_counted(vocabulary, &mut |_| 1_000_000), request.input_bound(vocabulary));
    }
    assert_eq!(request.input_estimated(&mut |text| bytes(text) / 6), 1_003);
}

#[test]
fn every_form_of_input_is_covered() {
    let schema = format!(r#"{{"type":"object","enum":[{}1]}}"#, "1,".repeat(2_000));
    let function = format!(r#"{{"name":"f","parameters":{schema}}}"#);
    let call = format!(r#"{{"name":"f","arguments":"[{}1]"}}"#, "1,".repeat(2_000));
    let user = r#"[{"role":"user","content":""}]"#;
    let long = "x".repeat(4_000);
    // What each is at the least, for a vocabulary that is known and for one that is not.
    for (messages, more, known, unknown) in [
        (user, format!(r#","tools":[{{"type":"function","function":{function}}}]"#), 4_000, 8_000),
        (user, format!(r#","tools":[{{"type":"custom","custom":{{"description":"{long}"}}}}]"#), 4_000, 8_000),
        (user, format!(r#","functions":[{function}]"#), 4_000, 8_000),
        (user, format!(r#","response_format":{{"type":"json_schema","json_schema":{schema}}}"#), 4_000, 8_000),
        (user, format!(r#","prediction":{{"type":"content","content":"{long}"}}"#), 4_000, 4_000),
        (user, format!(r#","x_documents":["{long}"]"#), 4_000, 4_000),
        (
            &format!(r#"[{{"role":"assistant","tool_calls":[{{"id":"1","function":{call}}}]}}]"#),
            String::new(),
            4_000,
            8_000,
        ),
        (&format!(r#"[{{"role":"assistant","function_call":{call}}}]"#), String::new(), 4_000, 8_000),
        (&format!(r#"[{{"role":"tool","tool_call_id":"1","content":"{long}"}}]"#), String::new(), 4_000, 4_000),
        (
            &format!(r#"[{{"role":"system","content":[{{"type":"text","text":"{long}"}}]}}]"#),
            String::new(),
            4_000,
            4_000,
        ),
        (&format!(r#"[{{"role":"user","name":"{long}","content":""}}]"#), String::new(), 4_000, 8_000),
        (&format!(r#"["{long}"]"#), String::new(), 3_900, 3_900),
        (&format!(r#"[{{"content":[{{"input_audio":{{"data":"{long}"}}}}]}}]"#), String::new(), 4_000, 4_000),
        (
            r#"[{"content":[{"input_audio":{"data":"https://host/a.mp3"}}]}]"#,
            String::new(),
            FILE_TOKENS - 100,
            FILE_TOKENS - 100,
        ),
        (
            r#"[{"content":[{"image_url":{"url":"https://host/a.png"}}]}]"#,
            String::new(),
            IMAGE_TOKENS - 100,
            IMAGE_TOKENS - 100,
        ),
        (r#"[{"content":[{"file":{"file_id":"f"}}]}]"#, String::new(), FILE_TOKENS - 100, FILE_TOKENS - 100),
        (r#"[{"role":"assistant","audio":{"id":"a"}}]"#, String::new(), FILE_TOKENS - 100, FILE_TOKENS - 100),
    ] {
        for (vocabulary, least) in [(KNOWN, known), (None, unknown)] {
            let (bound, counted) = beyond_plain(messages, &more, vocabulary);
            // What the plain request has besides, some of these have not.
            assert!(bound >= least && counted + 50 >= least, "{bound} {counted} {least} {messages:.60} {more:.60}");
        }
    }
    let image = format!(r#"[{{"content":[{{"image_url":{{"url":"data:{}"}}}}]}}]"#, "A".repeat(100_000));
    assert!(beyond_plain(&image, "", None).0 < IMAGE_TOKENS + 100, "an image is not its bytes");
}

#[test]
fn what_the_output_may_be_is_told_by_limit_choices_and_prediction() {
    let output = |more| parse(more).unwrap().output().unwrap();
    assert_eq!(output(""), Output { asked: None, choices: 1, predicted: 0 });
    // Neither how much it reasons nor what is told beside the tokens adds to what is written.
    let more = r#","max_completion_tokens":9,"n":3,"reasoning_effort":"high","logprobs":true,"top_logprobs":20,"modalities":["text","audio"],"audio":{"voice":"x","format":"mp3"},"prompt_cache_retention":"24h""#;
    assert_eq!(output(more), Output { asked: Some(9), choices: 3, predicted: 0 });
    let prediction = r#"{"type":"content","content":"abc"}"#;
    let predicted = output(&format!(r#","prediction":{prediction}"#)).predicted;
    assert_eq!(predicted, bytes(prediction), "what of it does not come true is billed as output");
}

/// An endpoint where every kind of token has a price of its own, and long inputs other ones.
fn priced_endpoint(max_output_tokens: Option<u32>) -> Endpoint {
    let base = Rates {
        input: Picos(1_000_000),
        cache_read: Picos(100_000),
        cache_write_5m: Picos(1_250_000),
        cache_write_1h: Picos(2_000_000),
        output: Picos(4_000_000),
        input_audio: Picos(3_000_000),
        output_audio: Picos(8_000_000),
    };
    let long = Rates { input: Picos(2_500_000), output: Picos(9_000_000), ..base };
    let mut endpoint = endpoint("up");
    endpoint.prices = Prices { base, tiers: vec![(2_000, long)] };
    endpoint.model.max_output_tokens = max_output_tokens;
    endpoint
}

/// Parts of a request, and how much of each a provider can honestly bill: tokens of input, and of output per choice.
fn messages() -> impl Strategy<Value = (String, u64)> {
    let text = "[a-zé\\\\\"\n😀]{0,40}".prop_map(|text| {
        let json = serde_json::to_string(&text).unwrap();
        (format!(r#"{{"role":"user","content":{json}}}"#), bytes(&text) + 8)
    });
    let call = prop::collection::vec(0u8..10, 0..40).prop_map(|numbers| {
        let arguments = serde_json::to_string(&numbers).unwrap();
        let call = format!(r#"{{"id":"c","type":"function","function":{{"name":"f","arguments":"{arguments}"}}}}"#);
        (format!(r#"{{"role":"assistant","tool_calls":[{call}]}}"#), 3 * numbers.len() as u64 + 40)
    });
    let image =
        Just((r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"u"}}]}"#.to_owned(), 48_169));
    prop::collection::vec(prop_oneof![4 => text, 2 => call, 1 => image], 1..6).prop_map(|parts| {
        let json: Vec<_> = parts.iter().map(|(json, _)| json.as_str()).collect();
        (format!("[{}]", json.join(",")), parts.iter().map(|(_, tokens)| tokens).sum::<u64>() + 346)
    })
}

proptest! {
    #[test]
    fn no_honest_bill_is_over_what_is_held(
        (messages, input) in messages(),
        limit in prop::option::of(1u64..900),
        n in 1u64..5,
        prediction in prop::option::of("[a-z]{0,30}"),
        most in prop::option::of(1u32..600),
        known: bool,
        budget in 0i64..1_000_000_000,
        shares in prop::array::uniform6(0u64..=100),
    ) {
        let mut more = format!(r#","n":{n}"#);
        if let Some(limit) = limit { more += &format!(r#","max_tokens":{limit}"#); }
        if let Some(text) = &prediction { more += &format!(r#","prediction":{{"type":"content","content":"{text}"}}"#); }
        let request = of(&messages, &more);
        let vocabulary = KNOWN.filter(|_| known);
        // An endpoint whose model says nothing of itself is told where to stop, so that much is not passed either.
        let whole = Offer::new(priced_endpoint(most), request.input_bound(vocabulary), request.output());
        let counted = whole.clone().with_input(request.input_counted(vocabulary, &mut bytes));
        let cut = offer::within(std::slice::from_ref(&counted), crate::money::Nanos(budget));
        for offer in [whole, counted].iter().chain(&cut) {
            let told = serde_json::from_slice::<serde_json::Value>(&request.for_endpoint(&offer.endpoint, offer.told)).unwrap();
            let each = told["max_tokens"].as_u64().into_iter().chain(most.map(u64::from)).min().unwrap();
            let written = n * (each + prediction.as_ref().map_or(0, |text| bytes(text)));
            let share = |whole: u64, part: usize| whole * shares[part] / 100;
            let (cache_read, input_audio) = (share(input, 0) / 4, share(input, 1) / 4);
            let (cache_write_5m, cache_write_1h) = (share(input, 2) / 4, share(input, 3) / 4);
            let fresh = share(input - cache_read - input_audio - cache_write_5m - cache_write_1h, 4);
            let output_audio = share(written, 5);
            let usage = Usage {
                input: fresh, cache_read, cache_write_5m, cache_write_1h, input_audio,
                output: written - output_audio, output_audio,
            };
            let cost = pricing::cost(&offer.endpoint.prices, offer.endpoint.model.markup, &usage);
            prop_assert!(cost <= offer.most(), "{} > {}", cost.0, offer.most().0);
        }
    }
}

#[test]
fn debug_shows_no_prompt() {
    let request = ChatRequest::parse(br#"{"model":"m","messages":["marked secret"],"user":"marked secret"}"#);
    assert!(!format!("{request:?}").contains("marked secret"));
}
