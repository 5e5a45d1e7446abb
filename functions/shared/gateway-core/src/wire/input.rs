//! How much a chat request's messages can be: bytes of text, and the parts that are no text.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// What the messages of a request hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Input {
    /// Bytes of all strings that are no image, sound or file.
    pub(super) text_bytes: u64,
    /// How many images there are.
    pub(super) images: u64,
    /// How many files and videos there are.
    pub(super) files: u64,
    /// Bytes of the images, files and videos where they stand, or of the links to them.
    pub(super) media_bytes: u64,
}

impl Input {
    /// What `messages` (JSON) hold. Nothing when they are nested deeper than any reader here goes.
    pub(super) fn of(messages: &str) -> Option<Self> {
        let mut input = Self::default();
        let mut json = serde_json::Deserializer::from_str(messages);
        Walk(&mut input).deserialize(&mut json).ok()?;
        Some(input)
    }
}

/// What the key of a content part says that its value is.
enum Part {
    Image,
    Sound,
    File,
    Other,
}

impl<'de> Deserialize<'de> for Part {
    /// Keys are read unescaped, so that `image\u005furl` is an image too.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Key;
        impl Visitor<'_> for Key {
            type Value = Part;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_str<E>(self, key: &str) -> Result<Part, E> {
                Ok(match key {
                    "image_url" => Part::Image,
                    "input_audio" => Part::Sound,
                    "file" | "video_url" => Part::File,
                    _ => Part::Other,
                })
            }
        }
        deserializer.deserialize_str(Key)
    }
}

struct Walk<'a>(&'a mut Input);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.text_bytes += text.len() as u64;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Walk(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(part) = map.next_key()? {
            match part {
                Part::Image | Part::File => {
                    self.0.media_bytes += map.next_value::<&RawValue>()?.get().len() as u64;
                    let count = if matches!(part, Part::Image) { &mut self.0.images } else { &mut self.0.files };
                    *count += 1;
                }
                Part::Sound => {
                    map.next_value::<IgnoredAny>()?;
                }
                Part::Other => map.next_value_seed(Walk(self.0))?,
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_images_sound_and_files_are_told_apart() {
        let messages = r#"[{"role":"user","content":[
            {"type":"text","text":"h\u00e9"},
            {"type":"image_url","image\u005furl":{"url":"data:image/png;base64,AAAA"}},
            {"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}},
            {"type":"file","file":{"file_id":"f"}}, null, 1, -1, 1.5, true]}]"#;
        let input = Input::of(messages).unwrap();
        let words = ["user", "text", "hé", "image_url", "input_audio", "file"];
        assert_eq!(input.text_bytes, words.iter().map(|word| word.len() as u64).sum::<u64>());
        assert_eq!((input.images, input.files), (1, 1));
        assert_eq!(input.media_bytes, r#"{"url":"data:image/png;base64,AAAA"}{"file_id":"f"}"#.len() as u64);
    }

    #[test]
    fn bottomless_nesting_is_refused_and_does_not_end_the_process() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Input::of(&deep), None);
    }
}
