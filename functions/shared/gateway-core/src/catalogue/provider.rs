//! Who serves models: the providers that the gateway knows by itself, and one as it is configured here.

/// The language a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's HTTP API.
    OpenAi,
    /// The built-in provider that is no model and answers with the last message.
    Echo,
}

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
}

/// The name of the built-in provider that needs no network.
pub const ECHO_PROVIDER: &str = "modelswitch";

const fn open_ai(name: &'static str, base_url: &'static str, env_var: &'static str) -> BuiltInProvider {
    BuiltInProvider { name, dialect: Dialect::OpenAi, base_url, env_var: Some(env_var) }
}

/// Every built-in provider. Of those that the catalogue has no models of, the operator names their own.
pub const BUILT_IN_PROVIDERS: &[BuiltInProvider] = &[
    BuiltInProvider { name: ECHO_PROVIDER, dialect: Dialect::Echo, base_url: "", env_var: None },
    open_ai("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    open_ai("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    open_ai("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    open_ai("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    open_ai("xai", "https://api.x.ai/v1", "XAI_API_KEY"),
    open_ai("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    open_ai("fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    open_ai("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    open_ai("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    open_ai("perplexity", "https://api.perplexity.ai", "PERPLEXITY_API_KEY"),
];

impl BuiltInProvider {
    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        BUILT_IN_PROVIDERS.iter().find(|provider| provider.name == name)
    }
}
