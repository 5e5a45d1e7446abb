//! How much a chat request's messages can be: bytes of text, and the parts that are no text.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// What the messages of a request hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Input {
    /// How many texts there are: contents, their parts, refusals and reasoning.
    pub(super) texts: u64,
    /// Bytes of JSON that is neither text nor media: roles, names, tool calls and whatever nobody here knows.
    pub(super) json_bytes: u64,
    /// Bytes of sounds where they stand.
    pub(super) sound_bytes: u64,
    /// How many images there are.
    pub(super) images: u64,
    /// How many files, videos and links to sounds there are.
    pub(super) files: u64,
    /// Bytes of the images, files and videos where they stand, or of the links to them.
    pub(super) media_bytes: u64,
    /// Nothing stands where a text must be that has a length of its own, such as a number.
    pub(super) countable: bool,
}

impl Input {
    /// What `messages` (JSON) hold; each text of it goes to `read`. Nothing when they are nested deeper than any reader
    /// here goes.
    pub(super) fn of(messages: &str, read: &mut dyn FnMut(&str)) -> Option<Self> {
        let mut input =
            Self { texts: 0, json_bytes: 0, sound_bytes: 0, images: 0, files: 0, media_bytes: 0, countable: true };
        let mut json = serde_json::Deserializer::from_str(messages);
        Walk { input: &mut input, read }.deserialize(&mut json).ok()?;
        Some(input)
    }

    fn media(&mut self, json: &RawValue, file: bool) {
        self.media_bytes += json.get().len() as u64;
        let count = if file { &mut self.files } else { &mut self.images };
        *count += 1;
    }

    /// A sound is as long as its bytes let it be; behind a link it may be as long as a file.
    fn sound(&mut self, json: &RawValue) {
        #[derive(Deserialize)]
        struct Sound<'a> {
            #[serde(borrow)]
            data: Cow<'a, str>,
        }
        let here = |sound: Sound<'_>| {
            let data = sound.data.strip_prefix("data:").and_then(|data| data.split(',').nth(1)).unwrap_or(&sound.data);
            data.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte))
        };
        if serde_json::from_str(json.get()).is_ok_and(here) {
            self.sound_bytes += json.get().len() as u64;
        } else {
            self.media(json, true);
        }
    }
}

/// What the key of a message or of a content part says that its value is.
enum Part {
    Text,
    Image,
    Sound,
    File,
    /// Anything else, under a key of so many bytes.
    Other(u64),
}

impl<'de> Deserialize<'de> for Part {
    /// Keys are read unescaped, so that `image\u005furl` is an image too, and without regard to case, as some servers do.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Key;
        impl Visitor<'_> for Key {
            type Value = Part;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_str<E>(self, key: &str) -> Result<Part, E> {
                let is = |names: &[&str]| names.iter().any(|name| key.eq_ignore_ascii_case(name));
                Ok(match () {
                    () if is(&["content", "text", "refusal", "reasoning_content", "reasoning", "thinking"]) => {
                        Part::Text
                    }
                    () if is(&["image_url"]) => Part::Image,
                    () if is(&["input_audio"]) => Part::Sound,
                    // `audio` names an earlier answer that was spoken: it is read again, however long it was.
                    () if is(&["file", "video_url", "audio_url", "document_url", "audio"]) => Part::File,
                    () => Part::Other(key.len() as u64),
                })
            }
        }
        deserializer.deserialize_str(Key)
    }
}

struct Walk<'a> {
    input: &'a mut Input,
    read: &'a mut dyn FnMut(&str),
}

impl Walk<'_> {
    fn again(&mut self) -> Walk<'_> {
        Walk { input: self.input, read: self.read }
    }

    fn uncountable(self) {
        self.input.countable = false;
    }
}

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
        self.input.texts += 1;
        (self.read)(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.again())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(part) = map.next_key()? {
            match part {
                Part::Text => map.next_value_seed(self.again())?,
                Part::Image => self.input.media(map.next_value()?, false),
                Part::File => self.input.media(map.next_value()?, true),
                Part::Sound => self.input.sound(map.next_value()?),
                Part::Other(key_bytes) => {
                    self.input.json_bytes += key_bytes + map.next_value::<&RawValue>()?.get().len() as u64;
                }
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.uncountable();
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.uncountable();
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.uncountable();
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.uncountable();
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(messages: &str) -> (Input, Vec<String>) {
        let mut texts = Vec::new();
        let input = Input::of(messages, &mut |text| texts.push(text.to_owned())).unwrap();
        assert_eq!(input.texts, texts.len() as u64);
        (input, texts)
    }

    #[test]
    fn text_images_sound_and_files_are_told_apart() {
        let messages = r#"[{"role":"user","content":[
            {"type":"text","text":"h\u00e9"},
            {"type":"image_url","image\u005furl":{"url":"data:image/png;base64,AAAA"}},
            {"type":"image_url","Image_URL":"x"},
            {"type":"input_audio","input_audio":{"data":"AA\/A","format":"wav"}},
            {"type":"file","file":{"file_id":"f"}}, null]},
            {"role":"assistant","content":null,"refusal":"no","audio":{"id":"a"}}]"#;
        let (input, texts) = read(messages);
        assert_eq!(texts, ["hé", "no"]);
        assert_eq!((input.images, input.files, input.countable), (2, 2, true));
        let media = [r#"{"url":"data:image/png;base64,AAAA"}"#, r#""x""#, r#"{"file_id":"f"}"#, r#"{"id":"a"}"#];
        assert_eq!(input.media_bytes, media.concat().len() as u64);
        assert_eq!(input.sound_bytes, r#"{"data":"AA\/A","format":"wav"}"#.len() as u64);
        let types = [r#""user""#, r#""text""#, r#""image_url""#, r#""image_url""#, r#""input_audio""#, r#""file""#];
        let json = types.concat().len() + r#""assistant""#.len() + 2 * "role".len() + 5 * "type".len();
        assert_eq!(input.json_bytes, json as u64);
    }

    #[test]
    fn what_nobody_here_knows_is_json_as_a_whole() {
        let call = r#"[{"id":"c","function":{"name":"f","arguments":"{\"text\":[1, 2]}"}}]"#;
        let (input, texts) = read(&format!(r#"[{{"tool_calls":{call},"x_new":{{"text":"not read"}}}}]"#));
        assert_eq!(texts, [""; 0]);
        assert_eq!(input.json_bytes as usize, "tool_calls".len() + call.len() + r#"x_new{"text":"not read"}"#.len());
    }

    #[test]
    fn a_sound_behind_a_link_may_be_as_long_as_a_file() {
        for (sound, files) in [
            (r#"{"data":"UklGRg==","format":"wav"}"#, 0),
            (r#"{"data":"data:audio/wav;base64,UklGRg==","format":"wav"}"#, 0),
            (r#"{"data":"https://host/a.mp3"}"#, 1),
            (r#"{"data":"http\u003a\/\/host"}"#, 1),
            (r#"{"url":"https://host/a.mp3"}"#, 1),
            (r#"{"data":"AA","data":"BB"}"#, 1),
            (r#""https://host/a.mp3""#, 1),
        ] {
            let (input, _) = read(&format!(r#"[{{"content":[{{"input_audio":{sound}}}]}}]"#));
            assert_eq!((input.files, input.sound_bytes > 0), (files, files == 0), "{sound}");
        }
    }

    #[test]
    fn a_value_of_unknown_length_in_place_of_a_text_is_not_counted_as_one() {
        for value in ["1", "-1", "1.5", "true", "[7]", r#"{"text":123456789012345678901234567890}"#] {
            assert!(!read(&format!(r#"[{{"content":{value}}}]"#)).0.countable, "{value}");
        }
    }

    #[test]
    fn bottomless_nesting_is_refused_and_does_not_end_the_process() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Input::of(&deep, &mut |_| ()), None);
    }
}
