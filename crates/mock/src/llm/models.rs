//! The lists of models.

use portunus_auth_core::Dialect;
use serde_json::{Value, json};

use crate::answer::write;

/// All models, as the dialect lists them.
pub(super) fn list(dialect: Dialect) -> Vec<u8> {
    match dialect {
        Dialect::Anthropic => {
            let (first, last) = ("mock-model", "claude-sonnet-4-5");
            let data = [anthropic(first, "Mock"), anthropic(last, "Claude Sonnet 4.5")];
            write(&json!({"data": data, "has_more": false, "first_id": first, "last_id": last}))
        }
        Dialect::Gemini => {
            let models = ["mock-model", "gemini-2.5-flash"].map(gemini);
            write(&json!({"models": models}))
        }
        _ => {
            let models = ["mock-model", "gpt-4o", "gpt-4o-mini"].map(openai);
            write(&json!({"object": "list", "data": models}))
        }
    }
}

/// One model, whatever its name.
pub(super) fn one(dialect: Dialect, id: &str) -> Vec<u8> {
    write(&match dialect {
        Dialect::Anthropic => anthropic(id, id),
        Dialect::Gemini => gemini(id),
        _ => openai(id),
    })
}

fn openai(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "mock"})
}

fn anthropic(id: &str, name: &str) -> Value {
    json!({"type": "model", "id": id, "display_name": name, "created_at": "2025-01-01T00:00:00Z"})
}

fn gemini(id: &str) -> Value {
    json!({
        "name": format!("models/{id}"),
        "version": "001",
        "displayName": id,
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent"],
    })
}
