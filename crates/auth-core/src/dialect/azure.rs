//! OpenAI's models on Azure: by deployment, and at the versionless `/openai/v1`. Errors look like
//! OpenAI's: <https://learn.microsoft.com/azure/ai-foundry/openai/reference>.

use super::Operation as O;
use super::path::Template;

pub(super) const ROUTES: &[Template] = &[
    Template::new(O::ChatCompletions, "/openai/deployments/{model}/chat/completions"),
    Template::new(O::Embeddings, "/openai/deployments/{model}/embeddings"),
    Template::new(O::Responses, "/openai/responses"),
    Template::new(O::ListModels, "/openai/models"),
    Template::new(O::ChatCompletions, "/openai/v1/chat/completions"),
    Template::new(O::Responses, "/openai/v1/responses"),
    Template::new(O::Embeddings, "/openai/v1/embeddings"),
    Template::new(O::ListModels, "/openai/v1/models"),
    Template::new(O::GetModel, "/openai/v1/models/{model}"),
];
