//! The file's lines. What they mean is said in their header, and `gateway_core::catalogue` reads them.

use gateway_core::pricing::{Prices, Rates};

use crate::{DATE, data::Model, known::Known};

/// Providers that serve others' models, so that their ids need the provider in front.
const HOSTS: [&str; 4] = ["groq", "together", "fireworks", "cerebras"];

/// The comment lines at the top.
pub(crate) fn header(version: &str) -> String {
    format!(
        "# Made by `cargo run -p catalogue-import`: change its table, not this file.\n\
         # Prices: genai-prices {version} (MIT), those in force on {DATE}.\n\
         # Tab separated, sorted by id: id, provider, the provider's id, name, kind, context length, maximum output, input\n\
         # modalities, output modalities, parameters, rates, tiers. Rates are pico-USD per token (USD per million × 1,000,000):\n\
         # input, cache read, cache write 5m, cache write 1h, output, input audio, output audio. A tier is over:rates.\n"
    )
}

/// The line of the built-in provider that is no model. Its price is ours.
pub(crate) fn echo_line() -> String {
    "modelswitch/echo\tmodelswitch\techo\tEcho (no model: answers with the last message)\tchat\t128000\t16384\ttext\ttext\t\
     max_tokens,max_completion_tokens\t100000,100000,100000,100000,400000,100000,400000\t\n"
        .to_owned()
}

/// The line of a model.
pub(crate) fn line(known: &Known, model: &Model, prices: &Prices) -> String {
    let number = |value: Option<u32>| value.map(|value| value.to_string()).unwrap_or_default();
    let tiers: Vec<_> = prices.tiers.iter().map(|(over, tier)| format!("{over}:{}", rates(tier))).collect();
    let fields = [
        public_id(known),
        known.provider.to_owned(),
        known.upstream_id.to_owned(),
        name(known, model),
        if known.has("embedding") { "embedding" } else { "chat" }.to_owned(),
        number(known.context_length.or(model.context_window)),
        number(known.max_output_tokens),
        with("text", known, &[("image", "image"), ("audio", "audio"), ("file", "file")]),
        if known.has("embedding") { "embeddings".to_owned() } else { with("text", known, &[("speech", "audio")]) },
        parameters(known).join(","),
        rates(&prices.base),
        tiers.join(";"),
    ];
    format!("{}\n", fields.join("\t"))
}

fn with(first: &str, known: &Known, more: &[(&str, &str)]) -> String {
    let more = more.iter().filter(|(wanted, _)| known.has(wanted)).map(|(_, word)| *word);
    std::iter::once(first).chain(more).collect::<Vec<_>>().join(",")
}

/// The bare id where the provider made the model, else with the provider in front.
pub(crate) fn public_id(known: &Known) -> String {
    // Fireworks' ids are paths, `accounts/fireworks/models/kimi-k3`: the last part is what people say.
    let id = match known.provider {
        "fireworks" => known.upstream_id.rsplit('/').next().unwrap_or(known.upstream_id),
        _ => known.upstream_id,
    };
    let hosted = HOSTS.contains(&known.provider) || (known.provider == "mistral" && id.starts_with("zai-"));
    if hosted { format!("{}/{id}", known.provider) } else { id.to_owned() }
}

/// The data's name, told apart where several ids share it.
fn name(known: &Known, model: &Model) -> String {
    match &model.name {
        Some(name) if known.upstream_id.rsplit('/').next() == model.id.rsplit('/').next() => name.clone(),
        Some(name) => format!("{name} ({})", known.upstream_id),
        None => known.upstream_id.to_owned(),
    }
}

/// The request parameters that a model with these traits honours.
fn parameters(known: &Known) -> Vec<&'static str> {
    let mut names = Vec::new();
    if known.has("embedding") {
        if known.provider == "openai" {
            names.push("encoding_format");
        }
        names.extend(known.has("dimensions").then_some("dimensions"));
        return names;
    }
    // OpenAI's reasoning models take no sampling parameters and only the newer name of the limit.
    if known.provider == "openai" && known.has("effort") {
        names.push("max_completion_tokens");
    } else {
        names.extend(["max_tokens", "temperature", "top_p", "stop"]);
    }
    names.extend(known.has("tools").then_some(["tools", "tool_choice"]).into_iter().flatten());
    names.extend(known.has("schema").then_some("response_format"));
    names.extend(known.has("effort").then_some("reasoning_effort"));
    names
}

fn rates(rates: &Rates) -> String {
    [
        rates.input,
        rates.cache_read,
        rates.cache_write_5m,
        rates.cache_write_1h,
        rates.output,
        rates.input_audio,
        rates.output_audio,
    ]
    .map(|price| price.0.to_string())
    .join(",")
}
