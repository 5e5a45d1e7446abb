//! Which endpoints can answer a request, in the order in which to try them.

use crate::{
    catalogue::{Catalogue, Endpoint, ModelKind},
    error::{ApiError, ErrorCode},
};

/// The endpoints of `ids`, the client's model first and then its fallbacks. Ids that nobody serves here are left out.
pub fn plan(catalogue: &Catalogue, kind: ModelKind, ids: &[String]) -> Result<Vec<Endpoint>, ApiError> {
    let mut endpoints: Vec<Endpoint> = Vec::with_capacity(ids.len());
    for (position, id) in ids.iter().enumerate() {
        let param = if position == 0 { "model" } else { "models" };
        let model = catalogue.model(id).ok_or_else(|| ApiError {
            param: Some(param.to_owned()),
            ..ApiError::new(ErrorCode::ModelNotFound, format!("The model `{}` does not exist.", shown(id)))
        })?;
        if !model.kind.does(kind) {
            return Err(ApiError::invalid(param, wrong_kind(id, kind)));
        }
        let known = endpoints.iter().any(|endpoint| endpoint.model.id == model.id);
        if let Some(endpoint) = catalogue.endpoint(model).filter(|_| !known) {
            endpoints.push(endpoint);
        }
    }
    if endpoints.is_empty() {
        let message = match ids {
            [] => return Err(ApiError::missing("model")),
            [id] => format!("No provider serves the model `{id}` here."),
            _ => "No provider serves any of the models asked for here.".to_owned(),
        };
        return Err(ApiError::new(ErrorCode::NoProvider, message));
    }
    Ok(endpoints)
}

/// The id as an error repeats it: whatever the client sent, not more than a line of it.
fn shown(id: &str) -> String {
    id.chars().take(100).collect()
}

fn wrong_kind(id: &str, wanted: ModelKind) -> String {
    match wanted {
        ModelKind::Chat | ModelKind::Any => format!("The model `{id}` makes embeddings: use it with /v1/embeddings."),
        ModelKind::Embedding => format!("The model `{id}` does not make embeddings: use it with /v1/chat/completions."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn planned(kind: ModelKind, ids: &[&str]) -> Result<Vec<String>, ApiError> {
        let settings =
            r#"{"providers":{"openai":{}},"models":{"gpt-5":{"enabled":false},"fast":{"alias_of":"gpt-4o-mini"}}}"#;
        let catalogue = Catalogue::new(Settings::parse(settings.as_bytes()).unwrap()).unwrap();
        let ids: Vec<_> = ids.iter().map(|&id| id.to_owned()).collect();
        plan(&catalogue, kind, &ids).map(|endpoints| endpoints.into_iter().map(|endpoint| endpoint.model.id).collect())
    }

    #[test]
    fn endpoints_keep_the_client_s_order_without_repeats() {
        let ids = ["gpt-4o", "groq/openai/gpt-oss-20b", "openai/gpt-4o", "gpt-5", "fast", "gpt-4.1"];
        assert_eq!(planned(ModelKind::Chat, &ids).unwrap(), ["gpt-4o", "fast", "gpt-4.1"]);
        assert_eq!(planned(ModelKind::Chat, &["gpt-5", "gpt-4o"]).unwrap(), ["gpt-4o"]);
        assert_eq!(planned(ModelKind::Embedding, &["text-embedding-3-small"]).unwrap(), ["text-embedding-3-small"]);
    }

    #[test]
    fn an_unknown_model_is_a_404_that_names_it() {
        for (ids, param, id) in [(&["nope"][..], "model", "nope"), (&["gpt-4o", "no/such"], "models", "no/such")] {
            let error = planned(ModelKind::Chat, ids).unwrap_err();
            assert_eq!((error.code, error.param.as_deref()), (ErrorCode::ModelNotFound, Some(param)));
            assert_eq!(error.message, format!("The model `{id}` does not exist."));
        }
        let endless = planned(ModelKind::Chat, &["x".repeat(1_000_000).as_str()]).unwrap_err();
        assert!(endless.message.len() < 200);
    }

    #[test]
    fn a_model_of_the_other_kind_is_a_400() {
        for (kind, id) in [(ModelKind::Chat, "text-embedding-3-small"), (ModelKind::Embedding, "gpt-4o")] {
            let error = planned(kind, &[id]).unwrap_err();
            assert_eq!((error.code, error.param.as_deref()), (ErrorCode::InvalidParameter, Some("model")));
        }
    }

    #[test]
    fn a_model_that_nobody_serves_is_a_503() {
        for ids in [&["gpt-5"][..], &["groq/openai/gpt-oss-20b"], &["gpt-5", "deepseek-v4-pro"]] {
            assert_eq!(planned(ModelKind::Chat, ids).unwrap_err().code, ErrorCode::NoProvider);
        }
        assert_eq!(planned(ModelKind::Chat, &[]).unwrap_err().code, ErrorCode::MissingParameter);
    }
}
