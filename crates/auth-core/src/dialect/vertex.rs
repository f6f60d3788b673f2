//! Google's and Anthropic's models on Vertex AI: <https://cloud.google.com/vertex-ai/docs/reference/rest>.

use super::Operation as O;
use super::path::Template;

/// A path below a project's location, in both versions of the API.
macro_rules! both {
    ($operation:expr, $path:literal) => {
        [
            Template::new($operation, concat!("/v1/projects/{project}/locations/{location}", $path)),
            Template::new($operation, concat!("/v1beta1/projects/{project}/locations/{location}", $path)),
        ]
    };
}

const GENERATE: [Template; 2] =
    both!(O::GenerateContent, "/publishers/google/models/{model}:generateContent");
const STREAM: [Template; 2] =
    both!(O::StreamGenerateContent, "/publishers/google/models/{model}:streamGenerateContent");
const COUNT: [Template; 2] = both!(O::CountTokens, "/publishers/google/models/{model}:countTokens");
const COUNT_MESSAGE: [Template; 2] =
    both!(O::CountMessageTokens, "/publishers/anthropic/models/count-tokens:rawPredict");
const RAW: [Template; 2] = both!(O::RawPredict, "/publishers/anthropic/models/{model}:rawPredict");
const STREAM_RAW: [Template; 2] =
    both!(O::StreamRawPredict, "/publishers/anthropic/models/{model}:streamRawPredict");

pub(super) const ROUTES: &[Template] = &[
    GENERATE[0],
    GENERATE[1],
    STREAM[0],
    STREAM[1],
    COUNT[0],
    COUNT[1],
    COUNT_MESSAGE[0],
    COUNT_MESSAGE[1],
    RAW[0],
    RAW[1],
    STREAM_RAW[0],
    STREAM_RAW[1],
];
