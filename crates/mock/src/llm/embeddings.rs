//! Embeddings: vectors of unit length that a text alone decides, so that equal texts are near each other
//! and nothing else is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portunus_auth_core::dialect::Operation;
use serde::{Deserialize, Serialize};

use super::Failure;
use super::call::{Call, parse, tokens};
use crate::answer::write;
use crate::reply::Reply;

/// The length of a vector where nobody asks for another one.
const DIMENSIONS: usize = 8;
/// The longest vector that is made.
const MOST_DIMENSIONS: usize = 8_192;

/// A request for embeddings: what is to be embedded, and how the vectors are written.
#[derive(Debug)]
pub(super) struct Embed {
    pub(super) call: Call,
    inputs: Vec<String>,
    dimensions: usize,
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    OpenAi,
    /// OpenAI's with each vector as the base64 of little-endian 32-bit floats.
    OpenAiBase64,
    Gemini,
    GeminiBatch,
}

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    model: String,
    input: Input,
    encoding_format: Option<String>,
    dimensions: Option<usize>,
}

/// One text or several, each as text or as tokens.
#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
}

impl Input {
    fn texts(self) -> Vec<String> {
        let spell = |tokens: Vec<u32>| tokens.iter().map(|token| format!(" {token}")).collect();
        match self {
            Self::Text(text) => vec![text],
            Self::Texts(texts) => texts,
            Self::Tokens(tokens) if tokens.is_empty() => Vec::new(),
            Self::Tokens(tokens) => vec![spell(tokens)],
            Self::TokenLists(lists) => lists.into_iter().map(spell).collect(),
        }
    }
}

#[derive(Deserialize)]
struct GeminiBatch {
    requests: Vec<GeminiRequest>,
}

#[derive(Deserialize)]
struct GeminiRequest {
    content: GeminiContent,
    #[serde(alias = "output_dimensionality", rename = "outputDimensionality")]
    dimensions: Option<usize>,
}

#[derive(Deserialize)]
struct GeminiContent {
    parts: Vec<GeminiPart>,
}

#[derive(Deserialize)]
struct GeminiPart {
    #[serde(default)]
    text: String,
}

impl GeminiRequest {
    fn text(self) -> String {
        self.content.parts.into_iter().map(|part| part.text).collect()
    }
}

impl Embed {
    /// Reads a request. `model`: the one that the path names.
    pub(super) fn read(operation: Operation, body: &[u8], model: Option<&str>) -> Result<Self, Failure> {
        let (model, inputs, dimensions, form) = match operation {
            Operation::EmbedContent => {
                let request: GeminiRequest = parse(body)?;
                let dimensions = request.dimensions;
                (model.unwrap_or_default().to_owned(), vec![request.text()], dimensions, Form::Gemini)
            }
            Operation::BatchEmbedContents => {
                let batch: GeminiBatch = parse(body)?;
                let dimensions = batch.requests.first().and_then(|first| first.dimensions);
                let texts = batch.requests.into_iter().map(GeminiRequest::text).collect();
                (model.unwrap_or_default().to_owned(), texts, dimensions, Form::GeminiBatch)
            }
            _ => {
                let request: Request = parse(body)?;
                let form = match request.encoding_format.as_deref() {
                    None | Some("float") => Form::OpenAi,
                    Some("base64") => Form::OpenAiBase64,
                    Some(_) => return Err(Failure::new(400, "`encoding_format` is `float` or `base64`")),
                };
                let model = model.map_or(request.model, str::to_owned);
                (model, request.input.texts(), request.dimensions, form)
            }
        };
        let dimensions = dimensions.unwrap_or(DIMENSIONS);
        if model.is_empty() || inputs.is_empty() || !(1..=MOST_DIMENSIONS).contains(&dimensions) {
            return Err(Failure::new(
                400,
                "`model` and `input` must not be empty, nor dimensions be 0 or many",
            ));
        }
        let call = Call {
            model,
            stream: false,
            include_usage: false,
            user_text: inputs.last().cloned().unwrap_or_default(),
            answers_tool: false,
            tool: None,
            input_bytes: inputs.iter().map(String::len).sum(),
        };
        Ok(Self { call, inputs, dimensions, form })
    }

    /// One vector for each input: the reply's, if it has one.
    pub(super) fn answer(&self, reply: &Reply) -> Vec<u8> {
        let vectors = self.inputs.iter().map(|text| match &reply.embedding {
            Some(vector) => vector.clone(),
            None => vector(text, self.dimensions),
        });
        match self.form {
            Form::Gemini | Form::GeminiBatch => {
                let mut values: Vec<Values> = vectors.map(|values| Values { values }).collect();
                match (self.form, values.pop()) {
                    (Form::Gemini, Some(embedding)) => write(&One { embedding }),
                    (_, last) => {
                        values.extend(last);
                        write(&Many { embeddings: values })
                    }
                }
            }
            Form::OpenAi | Form::OpenAiBase64 => {
                let base64 = matches!(self.form, Form::OpenAiBase64);
                let entry = |(index, vector): (usize, Vec<f32>)| Entry {
                    object: "embedding",
                    index,
                    embedding: if base64 {
                        let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                        Vector::Base64(STANDARD.encode(bytes))
                    } else {
                        Vector::Floats(vector)
                    },
                };
                let used =
                    reply.usage.tokens.map_or_else(|| tokens(self.call.input_bytes), |(input, _)| input);
                write(&List {
                    object: "list",
                    data: vectors.enumerate().map(entry).collect(),
                    model: reply.model.as_deref().unwrap_or(&self.call.model),
                    usage: Usage { prompt_tokens: used, total_tokens: used },
                })
            }
        }
    }
}

/// A vector of unit length. The generator is SplitMix64, seeded with an FNV-1a hash of the text.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let mut state = text.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The upper 16 bits, which a float holds exactly, from -1 to 1 and never 0.
        let upper = u16::try_from((mixed ^ (mixed >> 31)) >> 48).unwrap_or(u16::MAX);
        (f32::from(upper) + 0.5) / 32_768.0 - 1.0
    };
    let values: Vec<f32> = (0..dimensions).map(|_| next()).collect();
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.into_iter().map(|value| value / length).collect()
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Entry>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Entry {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Floats(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

#[derive(Serialize)]
struct Values {
    values: Vec<f32>,
}

#[derive(Serialize)]
struct One {
    embedding: Values,
}

#[derive(Serialize)]
struct Many {
    embeddings: Vec<Values>,
}
