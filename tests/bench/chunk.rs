//! What relaying costs for each piece of a stream, beside the least and the most that could be done with it.

use std::{hint::black_box, time::Duration};

use bytes::Bytes;
use gateway_core::{
    meter::StreamMeter,
    pricing::{Markup, Prices},
};
use memchr::memmem::Finder;
use serde_json::Value;

use crate::{
    now,
    provider::{FRAME_BYTES, content_frame},
    sample::median,
};

const ROUNDS: usize = 21;
const FRAMES: usize = 20_000;
/// About 16 KiB, of which the first read of a connection makes one buffer.
const FRAMES_IN_BUFFER: usize = 46;

/// Measures and prints the table.
pub(crate) fn run() {
    // Slices of one buffer, as hyper gives them out, and as warm as what was just read.
    let buffer = Bytes::from(content_frame().repeat(FRAMES_IN_BUFFER));
    let slice = |at: usize| buffer.slice(at * FRAME_BYTES..(at + 1) * FRAME_BYTES);
    let frames = || (0..FRAMES).map(|n| slice(n % FRAMES_IN_BUFFER)).collect::<Vec<_>>();
    let (mut search, mut push, mut rewrite) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..=ROUNDS {
        let times = [searched(&frames()), pushed(frames()), rewritten(&frames())];
        let ns = times.map(|time| time.as_secs_f64() * 1e9 / FRAMES as f64);
        if n > 0 {
            search.push(ns[0]);
            push.push(ns[1]);
            rewrite.push(ns[2]);
        }
    }
    let least = median(search.iter().copied());
    println!("| one frame of {FRAME_BYTES} bytes | time | |");
    println!("|---|--:|--:|");
    for (name, times) in [
        ("one memmem for `\"usage\":`, nothing else", search),
        ("the relay's meter: forwarded untouched, text counted, usage, errors and ends looked for", push),
        ("parsed by serde_json and written again", rewrite),
    ] {
        let time = median(times);
        println!("| {name} | {time:.0} ns | ×{:.1} |", time / least);
    }
    println!();
}

fn searched(frames: &[Bytes]) -> Duration {
    let finder = Finder::new(b"\"usage\":");
    let began = now();
    for frame in frames {
        black_box(finder.find(black_box(frame)));
    }
    began.elapsed()
}

fn pushed(frames: Vec<Bytes>) -> Duration {
    let mut meter = StreamMeter::new(false, 1, Prices::default(), Markup::default());
    let mut forwarded = Vec::new();
    let began = now();
    for frame in frames {
        meter.push(black_box(frame), &mut forwarded);
        black_box(&forwarded);
        forwarded.clear();
    }
    let time = began.elapsed();
    black_box(meter.finish());
    time
}

fn rewritten(frames: &[Bytes]) -> Duration {
    let began = now();
    for frame in frames {
        let json = black_box(frame).strip_prefix(b"data: ").unwrap();
        let chunk: Value = serde_json::from_slice(json).unwrap();
        let mut written = b"data: ".to_vec();
        serde_json::to_writer(&mut written, &chunk).unwrap();
        written.extend_from_slice(b"\n\n");
        black_box(written);
    }
    began.elapsed()
}
