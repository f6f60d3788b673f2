//! Google's Gemini API: <https://ai.google.dev/api>.

use super::Operation as O;
use super::path::Template;

pub(super) const ROUTES: &[Template] = &[
    Template::new(O::GenerateContent, "/v1beta/models/{model}:generateContent"),
    Template::new(O::StreamGenerateContent, "/v1beta/models/{model}:streamGenerateContent"),
    Template::new(O::CountTokens, "/v1beta/models/{model}:countTokens"),
    Template::new(O::EmbedContent, "/v1beta/models/{model}:embedContent"),
    Template::new(O::BatchEmbedContents, "/v1beta/models/{model}:batchEmbedContents"),
    Template::new(O::ListModels, "/v1beta/models"),
    Template::new(O::GetModel, "/v1beta/models/{model}"),
    Template::new(O::GenerateContent, "/v1/models/{model}:generateContent"),
    Template::new(O::StreamGenerateContent, "/v1/models/{model}:streamGenerateContent"),
    Template::new(O::CountTokens, "/v1/models/{model}:countTokens"),
    Template::new(O::EmbedContent, "/v1/models/{model}:embedContent"),
    Template::new(O::BatchEmbedContents, "/v1/models/{model}:batchEmbedContents"),
];
