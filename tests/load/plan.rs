//! What a request asks for, what the providers do with it and when its client leaves: decided by chance, before it is sent.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// Numbers that follow from a seed (SplitMix64).
pub struct Chance(pub u64);

impl Chance {
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What a provider counts. `cached` is part of `input`, as OpenAI writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tokens {
    /// Input tokens.
    pub input: u64,
    /// Those of them that were read from the cache.
    pub cached: u64,
    /// Output tokens.
    pub output: u64,
}

impl Tokens {
    /// OpenAI's `usage` object.
    pub fn usage(self) -> Value {
        let Self { input, cached, output } = self;
        json!({
            "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
            "prompt_tokens_details": {"cached_tokens": cached},
        })
    }
}

/// What a provider does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Serves it and counts so many tokens.
    Serve(Tokens),
    /// Serves it and counts nothing.
    ServeUncounted,
    /// Serves it, counts it, and cuts the stream before its proper end.
    ServeAndCut(Tokens),
    /// Answers with this status.
    Fail(u16),
    /// Finds the request itself at fault.
    Reject,
    /// Closes the connection without an answer.
    Close,
    /// Sends what is no answer of a model.
    Garbage,
    /// Cuts the answer in its middle; a count so far may stand in it.
    Cut(Option<Tokens>),
    /// Says in the middle of the answer that it failed.
    Error,
}

impl Act {
    /// Whether the provider bills the request.
    pub fn serves(self) -> bool {
        matches!(self, Self::Serve(_) | Self::ServeUncounted | Self::ServeAndCut(_))
    }

    /// The status with which the gateway reports the failure, if no other provider makes it good.
    fn refusal(self, stream: bool) -> Option<u16> {
        match self {
            Self::Serve(_) | Self::ServeUncounted | Self::ServeAndCut(_) => None,
            Self::Fail(429 | 503) => Some(503),
            Self::Fail(504) => Some(504),
            Self::Reject => Some(400),
            // The stream's status was sent before.
            Self::Cut(_) | Self::Error if stream => None,
            Self::Fail(_) | Self::Close | Self::Garbage | Self::Cut(_) | Self::Error => Some(502),
        }
    }

    /// The same with no more output than the provider is told to give, unless it is one that does not listen.
    pub fn within(self, most_output: Option<u64>) -> Self {
        match (self, most_output) {
            (Self::Serve(tokens), Some(most)) if tokens.output <= MOST_OUTPUT => {
                Self::Serve(Tokens { output: tokens.output.min(most), ..tokens })
            }
            _ => self,
        }
    }

    fn of(chance: &mut Chance, most_output: u64) -> Self {
        let input = chance.below(500);
        let tokens =
            Tokens { input, cached: chance.below(input + 1) * chance.below(2), output: chance.below(most_output) };
        match chance.below(100) {
            0..70 => Self::Serve(tokens),
            70..73 => Self::Serve(Tokens { input: 0, cached: 0, output: 0 }),
            // More than was held: its bug, or ours.
            73 => Self::Serve(Tokens { output: 1_000 + chance.below(1_000), ..tokens }),
            74..79 => Self::ServeUncounted,
            79..81 => Self::ServeAndCut(tokens),
            81..89 => Self::Fail([500, 401, 429, 503, 504][chance.below(5) as usize]),
            89..91 => Self::Reject,
            91..93 => Self::Close,
            93..95 => Self::Garbage,
            95..98 => Self::Cut(chance.percent(50).then_some(tokens)),
            _ => Self::Error,
        }
    }
}

/// When a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// When it has all.
    AtTheEnd,
    /// When the first part of a stream is there and the provider has not sent the rest.
    Midway,
    /// When the provider has the request and has not begun to answer.
    BeforeTheAnswer,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// A chat, as a stream or whole.
    Chat {
        /// As a stream.
        stream: bool,
    },
    /// Embeddings.
    Embeddings,
}

/// A request, decided as a whole.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its number: the providers find its plan by it.
    pub n: u64,
    /// Which of the run's keys pays.
    pub key: usize,
    /// What is asked for.
    pub route: Route,
    /// Whether `spare/chat` is named as the fallback.
    pub fallback: bool,
    /// The client's own bound of the output.
    pub max_tokens: Option<u64>,
    /// The length of the client's message.
    pub text_bytes: usize,
    /// What the first provider does, and the fallback's.
    pub acts: [Act; 2],
    /// When the client leaves.
    pub leaves: Leaves,
    /// The provider has the request.
    pub arrived: Arc<Semaphore>,
    /// The provider may go on, where the client leaves early.
    pub go_on: Arc<Semaphore>,
}

/// The most that the models here write.
pub const MOST_OUTPUT: u64 = 200;

impl Plan {
    /// Request `n` of a key, by chance.
    pub fn of(chance: &mut Chance, n: u64, key: usize) -> Self {
        let route = match chance.below(100) {
            0..15 => Route::Embeddings,
            below => Route::Chat { stream: below < 60 },
        };
        let chat = route != Route::Embeddings;
        let leaves = match chance.below(100) {
            0..20 if route == (Route::Chat { stream: true }) => Leaves::Midway,
            20..24 => Leaves::BeforeTheAnswer,
            _ => Leaves::AtTheEnd,
        };
        let max_tokens = (chat && chance.percent(30)).then(|| 1 + chance.below(MOST_OUTPUT));
        let most_output = if chat { max_tokens.unwrap_or(MOST_OUTPUT) } else { 1 };
        let fallback = chat && chance.percent(40);
        let text_bytes = 10 + chance.below(400) as usize;
        let mut acts = [Act::of(chance, most_output), Act::of(chance, most_output)];
        if !chat {
            acts = acts.map(|act| act.of_embeddings(text_bytes as u64));
        }
        let [arrived, go_on] = std::array::from_fn(|_| Arc::new(Semaphore::new(0)));
        Self { n, key, route, fallback, max_tokens, text_bytes, acts, leaves, arrived, go_on }
    }

    /// Whether it is asked for as a stream.
    pub fn stream(&self) -> bool {
        self.route == Route::Chat { stream: true }
    }

    /// The path, and the body as the client sends it.
    pub fn request(&self) -> (&'static str, Value) {
        // A word of four letters and a blank is at least one token.
        let text: String = "word ".chars().cycle().take(self.text_bytes).collect();
        let mut body = match self.route {
            Route::Embeddings => {
                return ("/v1/embeddings", json!({"model": "lab/embed", "input": text, "plan": self.n}));
            }
            Route::Chat { stream } => json!({
                "model": "lab/chat", "messages": [{"role": "user", "content": text}], "stream": stream,
                "stream_options": {"include_usage": self.n.is_multiple_of(2)}, "plan": self.n,
            }),
        };
        if self.fallback {
            body["models"] = json!(["spare/chat"]);
        }
        if let Some(most) = self.max_tokens {
            body["max_tokens"] = json!(most);
        }
        ("/v1/chat/completions", body)
    }

    /// The failure that is reported if the fallback is not asked, where the first provider fails.
    pub fn first_alone(&self) -> Option<u16> {
        self.acts[0].refusal(self.stream())
    }

    /// The status of the answer if the books let the request through, and what the provider does whose answer it is.
    pub fn answer(&self) -> (u16, Act) {
        let [first, second] = self.acts;
        match first.refusal(self.stream()) {
            Some(status) if status != 400 && self.fallback => (second.refusal(self.stream()).unwrap_or(200), second),
            status => (status.unwrap_or(200), first),
        }
    }
}

impl Act {
    /// The same for a route without output, where nothing is cached either and no byte is more than a token.
    fn of_embeddings(self, text_bytes: u64) -> Self {
        let input_alone = |tokens: Tokens| Tokens { input: tokens.input.min(text_bytes), cached: 0, output: 0 };
        match self {
            Self::Serve(tokens) | Self::ServeAndCut(tokens) => Self::Serve(input_alone(tokens)),
            act => act,
        }
    }
}
