//! The most that a request can cost at each of its endpoints, and how it is made to fit what there is to spend.
//!
//! What an offer says is what the provider is held to: an answer is never longer than the offer that was paid for,
//! because the client asked for no more, the model makes no more, or the provider was told to stop there.

use crate::{
    catalogue::{Endpoint, Vocabulary},
    money::Nanos,
    pricing,
};

/// A model that says neither how much it writes nor how much it reads is told to write no more than this at a time.
const UNKNOWN_MAX_OUTPUT: u64 = 32_768;

/// An answer is cut to fit the funds, but not below so many tokens: less is of no use to anybody.
const LEAST_OUTPUT: u64 = 256;

/// A request as far as its price goes.
pub trait Order: Send + Sync {
    /// The most tokens that the input can be, by its size alone, for a model of this vocabulary (none: unknown).
    fn input_bound(&self, vocabulary: Option<Vocabulary>) -> u64;

    /// The same, and never more, told from its texts: `count` is how many tokens a text is in that vocabulary, or how
    /// many bytes if none is known.
    fn input_counted(&self, vocabulary: Option<Vocabulary>, count: &mut dyn FnMut(&str) -> u64) -> u64;

    /// How many tokens the input is, about, where `count` is how many a text is.
    fn input_estimated(&self, count: &mut dyn FnMut(&str) -> u64) -> u64;

    /// The output that is asked for. None: nothing is written, and the inputs are many, each with a context of its own.
    fn output(&self) -> Option<Output>;
}

/// The output that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// The most tokens of each choice, if the client says so.
    pub asked: Option<u64>,
    /// How many choices to make, at least 1.
    pub choices: u64,
    /// The most tokens that each choice is billed beside what it says: those of a prediction that did not come true.
    pub predicted: u64,
}

/// An endpoint with the most that a request reads and writes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Who serves it.
    pub endpoint: Endpoint,
    /// Tokens of input, at the most.
    pub input: u64,
    /// The most tokens of a choice, if the provider is to be told: the request alone would let it write more.
    pub told: Option<u64>,
    /// Tokens that a choice says, at the most.
    each: u64,
    /// None where nothing is written.
    output: Option<Output>,
}

impl AsRef<Endpoint> for Offer {
    fn as_ref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Offer {
    /// The whole of what is asked for, with an input of at most so many tokens.
    pub fn new(endpoint: Endpoint, input: u64, output: Option<Output>) -> Self {
        let model = &endpoint.model;
        let known = model.max_output_tokens.or(model.context_length).map(u64::from);
        let (each, told) = match (output.and_then(|output| output.asked), known) {
            _ if output.is_none() => (0, None),
            (Some(asked), Some(most)) if asked > most => (most, Some(most)),
            (Some(asked), _) => (asked, None),
            (None, Some(most)) => (most, None),
            (None, None) => (UNKNOWN_MAX_OUTPUT, Some(UNKNOWN_MAX_OUTPUT)),
        };
        // What does not fit the context is refused by the provider and costs nothing.
        let context = model.context_length.filter(|_| output.is_some()).map_or(u64::MAX, u64::from);
        Self { input: input.min(context), told, each, output, endpoint }
    }

    /// The same with an input of at most so many tokens.
    #[must_use]
    pub fn with_input(self, input: u64) -> Self {
        Self { input: self.input.min(input), ..self }
    }

    /// Tokens of output at the most, all choices together.
    pub fn output(&self) -> u64 {
        self.output_of(self.each)
    }

    fn output_of(&self, each: u64) -> u64 {
        self.output.map_or(0, |output| each.saturating_add(output.predicted).saturating_mul(output.choices))
    }

    /// The most that it can cost.
    pub fn most(&self) -> Nanos {
        self.cost_of(self.each)
    }

    fn cost_of(&self, each: u64) -> Nanos {
        let Endpoint { model, prices, .. } = &self.endpoint;
        pricing::worst_case(prices, model.markup, self.input, self.output_of(each))
    }

    /// The shortest answer that it may be cut to. One with a prediction and without a limit of its own is not cut:
    /// OpenAI takes no limit beside a prediction.
    fn shortest(&self) -> u64 {
        let cut = |output: Output| output.predicted == 0 || output.asked.is_some();
        if self.output.is_some_and(cut) { self.each.min(LEAST_OUTPUT) } else { self.each }
    }

    /// The same for at most `budget`: as it is, or with a shorter answer that the provider is told of.
    fn within(&self, budget: Nanos) -> Option<Self> {
        if self.most() <= budget {
            return Some(self.clone());
        }
        let output = self.output?;
        let Endpoint { model, prices, .. } = &self.endpoint;
        let affordable = pricing::affordable_output(prices, model.markup, self.input, budget)?;
        let each = (affordable / output.choices.max(1)).checked_sub(output.predicted)?;
        (self.shortest()..self.each).contains(&each).then(|| Self { each, told: Some(each), ..self.clone() })
    }
}

/// Each endpoint's offer for the whole of `order`, its input bounded by its size.
pub fn offers(endpoints: Vec<Endpoint>, order: &dyn Order) -> Vec<Offer> {
    let offer = |endpoint: Endpoint| {
        let input = order.input_bound(Vocabulary::of(&endpoint.model));
        Offer::new(endpoint, input, order.output())
    };
    endpoints.into_iter().map(offer).collect()
}

/// What must be held so that any of the offers is covered.
pub fn most(offers: &[Offer]) -> Nanos {
    offers.iter().map(Offer::most).max().unwrap_or_default()
}

/// The least that must be held for one of the offers, its answer cut as short as may be.
pub fn least(offers: &[Offer]) -> Nanos {
    offers.iter().map(|offer| offer.cost_of(offer.shortest())).min().unwrap_or_default()
}

/// The offers that `budget` covers, each with an answer as long as it allows, in their order.
pub fn within(offers: &[Offer], budget: Nanos) -> Vec<Offer> {
    offers.iter().filter_map(|offer| offer.within(budget)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: Output = Output { asked: None, choices: 1, predicted: 0 };

    fn asked(tokens: u64) -> Output {
        Output { asked: Some(tokens), ..ONE }
    }

    /// An endpoint at one price for input and output. 1 USD per million is 1000 nanos a token.
    fn endpoint(usd_per_million: &str, context_length: Option<u32>, max_output_tokens: Option<u32>) -> Endpoint {
        let price = crate::money::Picos::parse_usd_per_million(usd_per_million).unwrap();
        let rates = pricing::Rates { input: price, output: price, ..pricing::Rates::default() };
        let mut endpoint = crate::wire::tests::endpoint("up");
        endpoint.prices = pricing::Prices { base: rates, tiers: vec![] };
        endpoint.model.context_length = context_length;
        endpoint.model.max_output_tokens = max_output_tokens;
        endpoint
    }

    fn offer(input: u64, output: Output) -> Offer {
        Offer::new(endpoint("1", Some(1000), Some(500)), input, Some(output))
    }

    #[test]
    fn an_offer_covers_what_is_asked_and_no_more_than_a_model_reads_and_writes() {
        let most = |input, output| offer(input, output).most();
        assert_eq!(most(50, asked(7)), Nanos(57_000));
        assert_eq!(most(50, Output { choices: 3, ..asked(7) }), Nanos(71_000), "each choice is written");
        assert_eq!(most(50, Output { choices: 2, predicted: 10, ..asked(7) }), Nanos(84_000), "and its prediction");
        assert_eq!(most(50, ONE), Nanos(550_000), "the model's own most");
        assert_eq!(most(5000, asked(7)), Nanos(1_007_000), "no more than the model reads");
        let of = |context, output, wanted| Offer::new(endpoint("1", context, output), 50, Some(wanted));
        assert_eq!(of(Some(1000), None, ONE).most(), Nanos(1_050_000));
        assert_eq!(of(None, None, asked(100_000)).most(), Nanos(100_050_000));
        let many = Offer::new(endpoint("1", Some(1000), None), 5000, None);
        assert_eq!((many.most(), many.output()), (Nanos(5_000_000), 0), "inputs with a context each, and no output");
    }

    #[test]
    fn a_provider_is_told_a_limit_only_where_the_request_would_let_it_pass_the_offer() {
        assert_eq!(offer(50, ONE).told, None);
        assert_eq!(offer(50, asked(500)).told, None);
        assert_eq!((offer(50, asked(5000)).told, offer(50, asked(5000)).most()), (Some(500), Nanos(550_000)));
        let silent = Offer::new(endpoint("1", None, None), 50, Some(ONE));
        assert_eq!((silent.told, silent.most()), (Some(UNKNOWN_MAX_OUTPUT), Nanos(32_818_000)));
    }

    #[test]
    fn an_answer_is_cut_to_the_funds_and_not_below_the_least_that_is_of_use() {
        let told = |output, budget| offer(50, output).within(Nanos(budget)).map(|offer| offer.told);
        assert_eq!(told(ONE, 550_000), Some(None), "all of it fits");
        assert_eq!(told(ONE, 549_999), Some(Some(499)));
        assert_eq!(told(ONE, 306_000), Some(Some(256)));
        assert_eq!(told(ONE, 305_999), None);
        assert_eq!(told(asked(100), 150_000), Some(None));
        assert_eq!(told(asked(100), 149_999), None, "who asks for less gets all of it or nothing");
        let twice = Output { choices: 2, ..ONE };
        assert_eq!(told(twice, 750_999), Some(Some(350)), "the choices share the funds");
        assert_eq!(told(Output { predicted: 10, ..asked(400) }, 349_000), Some(Some(289)));
        assert_eq!(told(Output { predicted: 10, ..ONE }, 549_000), None, "a prediction goes with no limit");
        assert_eq!(Offer::new(endpoint("1", None, None), 50, None).within(Nanos(49_999)), None, "nothing to cut");
    }

    #[test]
    fn what_cannot_be_afforded_is_left_out_and_the_order_stays() {
        let of = |price| Offer::new(endpoint(price, Some(1000), Some(500)), 50, Some(ONE));
        let all = [of("10"), of("1"), of("2")];
        assert_eq!((most(&all), least(&all)), (Nanos(5_500_000), Nanos(306_000)));
        let told = |budget| {
            let fits = within(&all, Nanos(budget));
            assert!(most(&fits) <= Nanos(budget));
            fits.iter().map(|offer| (offer.endpoint.prices.base.input.0, offer.told)).collect::<Vec<_>>()
        };
        assert_eq!(told(5_499_999), [(10_000_000, Some(499)), (1_000_000, None), (2_000_000, None)]);
        assert_eq!(told(1_000_000), [(1_000_000, None), (2_000_000, Some(450))]);
        assert_eq!(told(306_000), [(1_000_000, Some(256))]);
        assert_eq!(told(305_999), []);
    }

    proptest! {
        #[test]
        fn what_is_within_a_budget_never_costs_more(
            input in 0u64..2000, limit in prop::option::of(1u64..1000), choices in 1u64..9, predicted in 0u64..50,
            budget in 0i64..6_000_000,
        ) {
            let whole = offer(input, Output { asked: limit, choices, predicted });
            match whole.within(Nanos(budget)) {
                Some(cut) => {
                    prop_assert!(cut.most() <= Nanos(budget) && cut.output() <= whole.output());
                    prop_assert!(cut.each >= whole.shortest());
                }
                None => prop_assert!(whole.cost_of(whole.shortest()) > Nanos(budget)),
            }
        }
    }
}
