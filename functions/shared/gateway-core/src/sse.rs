//! Server-sent events: bytes to frames, frames to events, wherever the bytes are split.
//!
//! A frame is what stands before a blank line, with that line. The relay only needs frames; [`Decoder`] makes events
//! of them. Line ends are `\n`, `\r\n` and `\r`; comments and unknown fields are allowed and mean nothing.

use std::borrow::Cow;

/// The most bytes that one frame may have.
pub const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;

/// A frame with more than [`MAX_FRAME_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event with more than {MAX_FRAME_BYTES} bytes")]
pub struct FrameTooLong;

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Its `event`, empty if it has none.
    pub name: String,
    /// Its `data` lines, joined by line feeds.
    pub data: Vec<u8>,
}

/// The length of the frame that `bytes` begin with or go on with, or nothing if it does not end here. `previous` is
/// the frame's byte before them, nothing at its beginning.
///
/// A frame may end with the `\r` of a `\r\n` that is split: the `\n` is then a frame of its own that says nothing.
pub fn frame_end(bytes: &[u8], previous: Option<u8>) -> Option<usize> {
    memchr::memchr2_iter(b'\n', b'\r', bytes).find_map(|at| {
        let before = if at == 0 { previous } else { Some(bytes[at - 1]) };
        let blank = match before {
            None | Some(b'\n') => true,
            Some(b'\r') => bytes[at] == b'\r',
            Some(_) => false,
        };
        let whole = bytes[at] == b'\r' && bytes.get(at + 1) == Some(&b'\n');
        blank.then_some(at + 1 + usize::from(whole))
    })
}

/// The value of each of a frame's lines that has this field.
fn values<'a>(frame: &'a [u8], field: &'static str) -> impl Iterator<Item = &'a [u8]> {
    let frame = frame.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(frame);
    frame.split(|byte| matches!(byte, b'\n' | b'\r')).filter_map(move |line| {
        match line.strip_prefix(field.as_bytes())? {
            [] => Some(&[][..]),
            [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
            _ => None,
        }
    })
}

/// A frame's data: a slice of it where it is one line. Nothing if there is no `data` at all.
pub fn data(frame: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut lines = values(frame, "data");
    let first = lines.next()?;
    Some(lines.fold(Cow::Borrowed(first), |joined, line| Cow::Owned([&joined[..], b"\n", line].concat())))
}

/// A frame's `event`.
pub fn name(frame: &[u8]) -> &[u8] {
    values(frame, "event").last().unwrap_or_default()
}

/// Bytes to events, at any split.
#[derive(Debug, Default)]
pub struct Decoder {
    tail: Vec<u8>,
}

impl Decoder {
    /// The events that end with these bytes.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Event>, FrameTooLong> {
        let mut events = Vec::new();
        while let Some(length) = frame_end(bytes, self.tail.last().copied()) {
            self.keep(&bytes[..length])?;
            events.extend(event(&self.tail));
            self.tail.clear();
            bytes = &bytes[length..];
        }
        self.keep(bytes)?;
        Ok(events)
    }

    /// The event that nothing follows, not even a blank line.
    pub fn finish(self) -> Option<Event> {
        event(&self.tail)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), FrameTooLong> {
        if self.tail.len() + bytes.len() > MAX_FRAME_BYTES {
            return Err(FrameTooLong);
        }
        self.tail.extend_from_slice(bytes);
        Ok(())
    }
}

fn event(frame: &[u8]) -> Option<Event> {
    let data = data(frame)?.into_owned();
    Some(Event { name: String::from_utf8_lossy(name(frame)).into_owned(), data })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(chunks: &[&[u8]]) -> Vec<(String, String)> {
        let mut decoder = Decoder::default();
        let mut events: Vec<Event> = chunks.iter().flat_map(|chunk| decoder.push(chunk).unwrap()).collect();
        events.extend(decoder.finish());
        events.into_iter().map(|event| (event.name, String::from_utf8(event.data).unwrap())).collect()
    }

    fn data_of(text: &str) -> Vec<String> {
        events(&[text.as_bytes()]).into_iter().map(|(_, data)| data).collect()
    }

    #[test]
    fn every_line_end_ends_a_line() {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!(
                ": comment{end}{end}data: a{end}{end}data:b{end}data:  c{end}id: 1{end}{end}{end}data{end}{end}"
            );
            assert_eq!(data_of(&text), ["a", "b\n c", ""], "{end:?}");
        }
        assert_eq!(data_of("data: a\n\r\ndata: b\r\n\ndata: c\r\r\n"), ["a", "b", "c"]);
    }

    #[test]
    fn names_a_byte_order_mark_and_a_last_line_without_its_end_are_read() {
        let text = "\u{feff}data: a\n\nevent: error\ndata: b\n\ndatas: x\n\ndata: [DONE]";
        let expected =
            [("", "a"), ("error", "b"), ("", "[DONE]")].map(|(name, data)| (name.to_owned(), data.to_owned()));
        assert_eq!(events(&[text.as_bytes()]), expected);
    }

    #[test]
    fn a_frame_without_end_is_an_error_and_not_all_the_memory() {
        let mut decoder = Decoder::default();
        let megabyte = vec![b'x'; 1024 * 1024];
        assert!((0..9).any(|_| decoder.push(&megabyte).is_err()));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(
            parts in prop::collection::vec(
                prop::sample::select(vec!["data: a", "data:", "event: e", ": c", "\n", "\r", "\r\n", "\n\n", "x", "é"]), 0..40),
            cuts in prop::collection::vec(0usize..200, 0..12),
        ) {
            let text = parts.concat();
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(events(&chunks), events(&[bytes]));
        }
    }
}
