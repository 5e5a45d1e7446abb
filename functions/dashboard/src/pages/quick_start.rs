//! `/dashboard/quick-start`: the first requests, to be copied. No key is ever in them: they read it from the environment.

use askama::Template;
use gateway_core::catalogue::{Catalogue, ECHO_PROVIDER, Model, ModelKind};

use crate::{
    answer::{Answer, Failure},
    frame::Frame,
    visit::Visit,
};

/// What the product's own page asks for. Served here or not, it shows where a model's name goes.
const USUAL: &str = "gpt-4o";

#[derive(Template)]
#[template(path = "quick_start.html")]
struct QuickStart<'a> {
    frame: Frame<'a>,
    /// Where the API is, without `/v1`.
    base: String,
    chat: String,
    /// None where no embeddings are served.
    embedding: Option<String>,
    /// The answers are the built-in provider's, or none.
    only_echo: bool,
}

/// Whether a model's id reads the same in a shell's quotes, in JSON and in a program.
fn is_plain(id: &str) -> bool {
    id.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:@".contains(c))
}

/// A model of this kind for an example: the usual one, another one, or, if there is nothing else, the echo.
fn example(catalogue: &Catalogue, kind: ModelKind) -> Option<Model> {
    let models = catalogue.models().into_iter().filter(|model| model.kind.does(kind) && is_plain(&model.id));
    models.min_by_key(|model| (model.id != USUAL, model.provider == ECHO_PROVIDER))
}

/// GET /quick-start
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let catalogue = visit.app.configuration.catalogue(visit.request.at).await?;
    let chat = example(&catalogue, ModelKind::Chat);
    Answer::page(&QuickStart {
        frame: visit.frame("Quick start", "/quick-start"),
        base: visit.site.base(),
        only_echo: chat.as_ref().is_none_or(|model| model.provider == ECHO_PROVIDER),
        chat: chat.map_or_else(|| USUAL.to_owned(), |model| model.id),
        embedding: example(&catalogue, ModelKind::Embedding).map(|model| model.id),
    })
}

#[cfg(test)]
mod tests {
    use gateway_core::settings::Settings;

    use super::*;

    fn chosen(settings: &str, kind: ModelKind) -> Option<String> {
        let settings = Settings::parse(settings.as_bytes()).unwrap();
        example(&Catalogue::new(settings).unwrap(), kind).map(|model| model.id)
    }

    #[test]
    fn an_example_s_model_is_one_that_is_served_and_the_echo_only_if_there_is_no_other() {
        assert_eq!(chosen("{}", ModelKind::Chat), None);
        assert_eq!(chosen(r#"{"providers":{"modelswitch":{}}}"#, ModelKind::Chat).unwrap(), "modelswitch/echo");
        let open_ai = r#"{"providers":{"modelswitch":{},"openai":{}}}"#;
        assert_eq!(chosen(open_ai, ModelKind::Chat).unwrap(), USUAL);
        assert!(chosen(open_ai, ModelKind::Embedding).unwrap().starts_with("text-embedding-"));
        let odd = r#"{"providers":{"modelswitch":{},"lab":{"base_url":"https://lab.example/v1"}},"models":
            {"lab/'$(id)\"":{"provider":"lab","price":{"input":"1","output":"1"}}}}"#;
        assert_eq!(chosen(odd, ModelKind::Chat).unwrap(), "modelswitch/echo", "no example breaks out of its quotes");
    }
}
