//! Who serves models: the providers that the gateway knows by itself, and one as it is configured here.

/// The language a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's HTTP API.
    OpenAi,
    /// The built-in provider that is no model and answers with the last message.
    Echo,
}

/// The request fields that a provider reads as the most tokens of an answer: those that it honours, the one to use where
/// the client used none first. What a provider does not read it ignores or refuses.
pub type OutputLimits = &'static [&'static str];

/// All that there are.
pub const OUTPUT_LIMITS: OutputLimits = &["max_tokens", "max_completion_tokens"];

/// Only the older one.
const OLD: OutputLimits = &["max_tokens"];
/// Only the newer one.
const NEW: OutputLimits = &["max_completion_tokens"];
/// Both, but some models only the newer one.
const NEW_OR_OLD: OutputLimits = &["max_completion_tokens", "max_tokens"];

/// A provider as it is configured here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its name.
    pub name: String,
    /// What it speaks.
    pub dialect: Dialect,
    /// Where its API is, up to and with the version, without a slash behind. Empty where nothing is called.
    pub base_url: String,
    /// The name of its key among the credentials; none: no authorization header.
    pub credential: Option<String>,
    /// Headers sent with every request to it.
    pub headers: Vec<(String, String)>,
    /// The fields that limit its answers.
    pub output_limits: OutputLimits,
}

/// A provider that the gateway knows by itself: `{}` in the settings turns it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltInProvider {
    /// Its name in settings, ids and credentials.
    pub name: &'static str,
    /// What it speaks.
    pub dialect: Dialect,
    /// Where its API is.
    pub base_url: &'static str,
    /// The environment variable that its own tools read its key from; the local gateway does too.
    pub env_var: Option<&'static str>,
    /// The fields that limit its answers, by its documentation.
    pub output_limits: OutputLimits,
}

/// The name of the built-in provider that needs no network.
pub const ECHO_PROVIDER: &str = "modelswitch";

const fn open_ai(
    name: &'static str,
    base_url: &'static str,
    env_var: &'static str,
    output_limits: OutputLimits,
) -> BuiltInProvider {
    BuiltInProvider { name, dialect: Dialect::OpenAi, base_url, env_var: Some(env_var), output_limits }
}

/// Every built-in provider. Of those that the catalogue has no models of, the operator names their own.
///
/// xAI reads `max_tokens` too, but documents of `max_completion_tokens` alone that it limits the reasoning as well.
pub const BUILT_IN_PROVIDERS: &[BuiltInProvider] = &[
    BuiltInProvider {
        name: ECHO_PROVIDER,
        dialect: Dialect::Echo,
        base_url: "",
        env_var: None,
        output_limits: OUTPUT_LIMITS,
    },
    open_ai("openai", "https://api.openai.com/v1", "OPENAI_API_KEY", NEW_OR_OLD),
    open_ai("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY", NEW_OR_OLD),
    open_ai("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY", OLD),
    open_ai("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", OLD),
    open_ai("xai", "https://api.x.ai/v1", "XAI_API_KEY", NEW),
    open_ai("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY", OLD),
    open_ai("fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", OLD),
    open_ai("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", NEW),
    open_ai("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", OLD),
    open_ai("perplexity", "https://api.perplexity.ai", "PERPLEXITY_API_KEY", OLD),
];

impl BuiltInProvider {
    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        BUILT_IN_PROVIDERS.iter().find(|provider| provider.name == name)
    }
}
