//! Which models' tokens can be counted here, to the token.

use super::Model;

/// A vocabulary of OpenAI's byte-level tokenizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vocabulary {
    /// Of gpt-4o and later, and of gpt-oss.
    O200k,
    /// Of the embedding models.
    Cl100k,
}

/// The models whose vocabulary OpenAI's own tokenizer library names, by what an id begins with: the id itself, or one
/// with a version behind a `-`. Newer models are left out until that names them: their texts may come to more tokens.
const OPENAI: [(&str, Vocabulary); 8] = [
    ("gpt-4o", Vocabulary::O200k),
    ("gpt-4.1", Vocabulary::O200k),
    ("gpt-5", Vocabulary::O200k),
    ("o1", Vocabulary::O200k),
    ("o3", Vocabulary::O200k),
    ("o4-mini", Vocabulary::O200k),
    ("text-embedding-3", Vocabulary::Cl100k),
    ("text-embedding-ada-002", Vocabulary::Cl100k),
];

/// OpenAI's open models, whoever serves them: the vocabulary is part of the model.
const OPEN: &str = "gpt-oss";

impl Vocabulary {
    /// The vocabulary of `model`, where it is known. Any other may cut a text into as many tokens as it has bytes: no
    /// multiple of another vocabulary's count is a bound, for a word that is one token here can be all bytes there.
    ///
    /// An operator's own provider may call anything by OpenAI's names, so these count for OpenAI alone.
    pub fn of(model: &Model) -> Option<Self> {
        let id = model.upstream_id.rsplit('/').next().unwrap_or_default();
        let id = id.strip_prefix("ft:").unwrap_or(id);
        let is = |name: &str| id.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', ':']));
        if is(OPEN) && super::BuiltInProvider::named(&model.provider).is_some() {
            return Some(Self::O200k);
        }
        let known = OPENAI.iter().find(|(name, _)| model.provider == "openai" && is(name));
        known.map(|(_, vocabulary)| *vocabulary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vocabulary_is_known_only_where_its_maker_documents_it() {
        let mut model = crate::wire::tests::endpoint("x").model;
        for (provider, upstream_id, expected) in [
            ("openai", "gpt-4o", Some(Vocabulary::O200k)),
            ("openai", "gpt-4o-mini-2024-07-18", Some(Vocabulary::O200k)),
            ("openai", "gpt-5-mini", Some(Vocabulary::O200k)),
            ("openai", "ft:gpt-4o:team::x", Some(Vocabulary::O200k)),
            ("openai", "o3", Some(Vocabulary::O200k)),
            ("openai", "text-embedding-3-small", Some(Vocabulary::Cl100k)),
            ("openai", "gpt-5.4", None),
            ("openai", "gpt-audio", None),
            ("openai", "gpt-4", None),
            ("lab", "gpt-4o", None),
            ("groq", "openai/gpt-oss-120b", Some(Vocabulary::O200k)),
            ("fireworks", "accounts/fireworks/models/gpt-oss-20b", Some(Vocabulary::O200k)),
            ("lab", "gpt-oss-20b", None),
            ("groq", "llama-3.3-70b-versatile", None),
        ] {
            (model.provider, model.upstream_id) = (provider.to_owned(), upstream_id.to_owned());
            assert_eq!(Vocabulary::of(&model), expected, "{provider} {upstream_id}");
        }
    }
}
