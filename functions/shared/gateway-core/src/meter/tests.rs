use proptest::prelude::*;

use super::*;
use crate::{money::Picos, pricing::Rates};

const ROLE: &str = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n";
const WORD: &str = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi \\\"you\\\"\"},\"finish_reason\":null}]}\n\n";
const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":2,\"total_tokens\":12}}\n\n";
const COSTED: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":2,\"total_tokens\":12,\"cost\":0.000014}}\n\n";
const LAST: &str = "data: [DONE]\n\n";

/// A micro-USD for a token of input, two for one of output.
fn meter(include_usage: bool, choices: u64) -> StreamMeter {
    let base = Rates { input: Picos(1_000_000), output: Picos(2_000_000), ..Rates::default() };
    StreamMeter::new(include_usage, choices, Prices { base, tiers: vec![] }, Markup::default())
}

fn run(mut meter: StreamMeter, chunks: &[&str]) -> (String, StreamEnd) {
    let mut forwarded = Vec::new();
    for chunk in chunks {
        meter.push(Bytes::copy_from_slice(chunk.as_bytes()), &mut forwarded);
    }
    let (last, end) = meter.finish();
    forwarded.extend(last);
    (String::from_utf8(forwarded.concat()).unwrap(), end)
}

fn counted(input: u64, output: u64) -> Option<Usage> {
    Some(Usage { input, output, ..Usage::default() })
}

#[test]
fn untouched_frames_are_the_network_s_own_bytes() {
    let chunk = Bytes::from([": note\n\n", ROLE, WORD, "data: half"].concat());
    let mut forwarded = Vec::new();
    meter(false, 1).push(chunk.clone(), &mut forwarded);
    let whole = chunk.len() - "data: half".len();
    assert_eq!(forwarded, [chunk.slice(..whole)]);
    assert_eq!(forwarded[0].as_ptr(), chunk.as_ptr(), "a slice, not a copy");
}

#[test]
fn the_usage_chunk_reaches_only_a_client_that_asked_and_then_with_its_cost() {
    let stream = [ROLE, WORD, FINISH, USAGE, LAST];
    let (hidden, end) = run(meter(false, 1), &stream);
    assert_eq!(hidden, [ROLE, WORD, FINISH, LAST].concat());
    let (shown, same_end) = run(meter(true, 1), &stream);
    assert_eq!(shown, [ROLE, WORD, FINISH, COSTED, LAST].concat());
    assert_eq!(end, same_end);
    assert_eq!((end.usage, end.finished, end.generated.bytes(), &end.error), (counted(10, 2), true, 10, &None));
    assert_eq!(end.due(), Due::Counted(counted(10, 2).unwrap()));
}

#[test]
fn usage_beside_choices_gets_its_cost_and_the_last_one_counts() {
    let first = r#"{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":5,"completion_tokens":1}}"#;
    let last = r#"{"choices":[{"delta":{"content":"b"}}],"usage":{"prompt_tokens":5,"completion_tokens":2}}"#;
    let (out, end) = run(meter(false, 1), &["data: ", first, "\r\n\r\ndata:", last, "\r\n\r\n", LAST]);
    assert_eq!(end.usage, counted(5, 2));
    let expected = format!(
        "data: {}\r\n\r\ndata:{}\r\n\r\n{LAST}",
        first.replace(":1}", ":1,\"cost\":0.000007}"),
        last.replace(":2}", ":2,\"cost\":0.000009}")
    );
    assert_eq!(out, expected);
}

#[test]
fn groq_s_own_place_for_usage_is_read_and_left_alone() {
    let chunk = "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"x_groq\":{\"id\":\"r\",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}}\n\n";
    let (out, end) = run(meter(false, 1), &[chunk]);
    assert_eq!((out.as_str(), end.usage, end.finished), (chunk, counted(3, 4), true));
}

#[test]
fn text_that_looks_like_usage_or_an_error_is_text() {
    let text =
        serde_json::to_string(r#"{"error":{"message":"no"},"usage":{"prompt_tokens":9},"finish_reason":"stop"}"#)
            .unwrap();
    let chunk = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":{text}}}}}]}}\n\n");
    let nested = "data: {\"choices\":[{\"delta\":{\"x\":{\"usage\":{\"prompt_tokens\":9},\"error\":{}}}}]}\n\n";
    let (out, end) = run(meter(false, 1), &[&chunk, nested]);
    assert_eq!(out, format!("{chunk}{nested}"));
    assert_eq!((end.usage, end.error, end.finished), (None, None, false));
    assert_eq!(end.generated.bytes(), text.len() as u64 - 2);
}

#[test]
fn an_error_frame_ends_the_stream_and_is_not_forwarded() {
    for (frame, error) in [
        (
            "data: {\"error\":{\"message\":\"secret\",\"code\":\"server_error\"}}\n\n",
            "an error in its answer (server_error)",
        ),
        ("data: {\"choices\":[],\"error\":{\"code\":502}}\n\n", "an error in its answer (502)"),
        ("data: {\"error\":\"secret words\"}\n\n", "an error in its answer"),
        ("event: error\ndata: {\"message\":\"secret\"}\n\n", "an error event in its stream"),
    ] {
        let (out, end) = run(meter(true, 1), &[WORD, frame, FINISH, USAGE, LAST]);
        assert_eq!(out, WORD);
        assert_eq!((end.error.as_deref(), end.finished), (Some(error), false));
        assert_eq!(end.due(), Due::Nothing);
    }
    let in_one_chunk = [WORD, "data: {\"error\":{}}\n\n", FINISH, LAST].concat();
    assert_eq!(run(meter(true, 1), &[&in_one_chunk]).0, WORD);
}

#[test]
fn an_answer_that_ends_with_an_error_or_a_blank_reason_costs_nothing() {
    for reason in ["\"error\"", "\"\"", "null"] {
        let (_, end) = run(meter(false, 1), &[&FINISH.replace("\"stop\"", reason)]);
        assert_eq!(end.due(), Due::Nothing, "{reason}");
    }
}

#[test]
fn a_cut_stream_is_not_finished_until_every_choice_is() {
    assert_eq!(run(meter(false, 1), &[ROLE, WORD]).1.due(), Due::Nothing);
    assert!(!run(meter(false, 2), &[FINISH]).1.finished);
    assert!(run(meter(false, 2), &[FINISH, FINISH]).1.finished);
    assert!(run(meter(false, 2), &[FINISH, LAST]).1.finished);
}

#[test]
fn absent_usage_is_uncounted_and_zero_usage_is_zero() {
    let (_, end) = run(meter(false, 1), &[ROLE, WORD, WORD, FINISH, LAST]);
    assert_eq!(end.due(), Due::Uncounted);
    let mut text = String::new();
    end.generated.tokens(&mut |generated| {
        text.push_str(generated);
        0
    });
    assert_eq!(text, "Hi \"you\"Hi \"you\"");
    let zero = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}\n\n";
    assert_eq!(run(meter(false, 1), &[WORD, zero, LAST]).1.due(), Due::Counted(Usage::default()));
}

#[test]
fn an_answer_that_says_nothing_and_not_why_costs_nothing_but_for_output_that_was_billed() {
    let unsaid = USAGE.replace("\"completion_tokens\":2,\"total_tokens\":12", "\"completion_tokens\":0");
    let blank = FINISH.replace("\"stop\"", "null");
    for stream in [&[ROLE, LAST][..], &[&blank, LAST], &[ROLE, &unsaid, LAST], &[LAST]] {
        assert_eq!(run(meter(false, 1), stream).1.due(), Due::Nothing, "{stream:?}");
    }
    assert_eq!(run(meter(false, 1), &[ROLE, USAGE, LAST]).1.due(), Due::Counted(counted(10, 2).unwrap()));
    assert_eq!(run(meter(false, 1), &[FINISH, &unsaid, LAST]).1.due(), Due::Counted(counted(10, 0).unwrap()));
    let whole = r#"{"choices":[{"message":{"content":""},"finish_reason":null}]}"#;
    assert_eq!(answer_end(whole.as_bytes()).due(), Due::Nothing);
    assert_eq!(answer_end(br#"{"data":[{"embedding":[0.5]}]}"#).due(), Due::Uncounted, "embeddings have no text");
}

#[test]
fn text_of_reasoning_and_tool_calls_is_counted_whatever_the_spacing() {
    for (delta, bytes) in [
        (r#"{"content": "abc"}"#, 3),
        (r#"{"reasoning_content":"abcd"}"#, 4),
        (r#"{"content":"","reasoning":"ab"}"#, 2),
        (r#"{"tool_calls":[{"function":{"name":"f","arguments":"{\"a\":1}"}}]}"#, 9),
        (r#"{"content":"a\\"}"#, 3),
        (r#"{"content":"\\\"b"}"#, 5),
        (r#"{"content":null}"#, 0),
        (r#"{"content":[{"type":"text"}]}"#, 0),
    ] {
        let (_, end) = run(meter(false, 1), &[&format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n")]);
        assert_eq!(end.generated.bytes(), bytes, "{delta}");
    }
}

#[test]
fn a_last_frame_is_completed_if_it_is_whole_and_dropped_if_it_is_half() {
    assert_eq!(run(meter(false, 1), &[WORD, "data: [DONE]"]).0, [WORD, LAST].concat());
    assert_eq!(run(meter(true, 1), &[USAGE.trim_end()]).0, COSTED);
    assert_eq!(run(meter(false, 1), &[USAGE.trim_end()]).0, "");
    assert_eq!(run(meter(false, 1), &[WORD, "data: {\"choices\":[{\"del"]).0, WORD);
}

#[test]
fn usage_over_several_data_lines_is_read_and_costed() {
    let lines = "data: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":10,\ndata: \"completion_tokens\":2}}\n\n";
    let (out, end) = run(meter(true, 1), &[lines]);
    assert_eq!(end.usage, counted(10, 2));
    assert_eq!(
        out,
        "data: {\"choices\":[], \"usage\":{\"prompt_tokens\":10, \"completion_tokens\":2,\"cost\":0.000014}}\n\n"
    );
}

#[test]
fn a_frame_without_end_is_an_error() {
    let megabyte = "x".repeat(1024 * 1024);
    let (out, end) = run(meter(false, 1), &[&megabyte[..]; 9]);
    assert_eq!(out, "");
    assert!(end.error.unwrap().contains("more than"));
}

#[test]
fn a_whole_answer_is_finished_unless_it_is_an_error_or_garbage() {
    let body = r#"{"choices":[{"message":{"content":"four"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    let end = answer_end(body.as_bytes());
    assert_eq!((end.due(), end.generated.bytes(), &end.error), (Due::Counted(counted(1, 1).unwrap()), 4, &None));
    assert!(answer_end(br#"{"data":[],"usage":null}"#).finished);
    for body in ["", "[]", "<html>", "{", r#"{"error":{"message":"no"}}"#, r#"{"choices":[{"finish_reason":"error"}]}"#]
    {
        let end = answer_end(body.as_bytes());
        assert!(end.error.is_some() && end.due() == Due::Nothing, "{body}");
    }
}

#[test]
fn the_beginning_of_a_stream_is_told_from_its_failure() {
    let says = |name: &str, data: &str| opening(&sse::Event { name: name.to_owned(), data: data.into() });
    assert_eq!(says("", &ROLE[6..]), Opening::Silent);
    assert_eq!(says("", r#"{"choices":[],"prompt_filter_results":[]}"#), Opening::Silent);
    for begun in [WORD, FINISH, USAGE] {
        assert_eq!(says("", &begun[6..]), Opening::Content);
    }
    assert_eq!(says("", r#"{"error":{"message":"no"}}"#), Opening::Error);
    assert_eq!(says("error", r#"{"message":"no"}"#), Opening::Error);
    for garbage in ["<html>", "[DONE]", "", "[null]"] {
        assert_eq!(says("", garbage), Opening::Garbage);
    }
}

proptest! {
    #[test]
    fn any_split_forwards_the_same_bytes_and_ends_the_same(
        parts in prop::collection::vec(
            prop::sample::select(vec![ROLE, WORD, FINISH, USAGE, LAST, ": c\r\n\r\n", "data: {}\r\r", "\n", "\r\n", "event: x\n", "data: \n", "é"]),
            0..24,
        ),
        cuts in prop::collection::vec(0usize..2000, 0..24),
        include_usage: bool,
    ) {
        let text = parts.concat();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).filter(|cut| text.is_char_boundary(*cut)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&str> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
        prop_assert_eq!(run(meter(include_usage, 1), &chunks), run(meter(include_usage, 1), &[&text]));
    }

    #[test]
    fn any_bytes_are_survived(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..16)) {
        let mut meter = meter(true, 1);
        let mut forwarded = Vec::new();
        for chunk in chunks {
            meter.push(chunk.into(), &mut forwarded);
        }
        meter.finish();
    }
}
