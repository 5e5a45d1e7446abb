//! The hand-kept table of models: which there are, and what the price data does not say of them.

const TABLE: &str = include_str!("known.tsv");

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Who serves it, by our name.
    pub provider: &'static str,
    /// What the provider calls it.
    pub upstream_id: &'static str,
    /// How many tokens it reads and writes, where that differs from the price data.
    pub context_length: Option<u32>,
    /// How many tokens it writes at the most.
    pub max_output_tokens: Option<u32>,
    /// What it can do.
    pub traits: Vec<&'static str>,
}

impl Known {
    /// Whether it has the trait.
    pub fn has(&self, wanted: &str) -> bool {
        self.traits.contains(&wanted)
    }
}

/// Every line, or the first that cannot be read.
pub fn all() -> Result<Vec<Known>, String> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| parse(line).ok_or_else(|| format!("known.tsv: cannot read `{line}`"))).collect()
}

fn parse(line: &'static str) -> Option<Known> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [provider, upstream_id, context, max_output, traits] = fields[..] else { return None };
    let number = |text: &str| if text == "-" { Some(None) } else { text.parse().ok().map(Some) };
    Some(Known {
        provider,
        upstream_id,
        context_length: number(context)?,
        max_output_tokens: number(max_output)?,
        traits: traits.split(' ').filter(|text| *text != "-").collect(),
    })
}
