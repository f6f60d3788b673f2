//! Anthropic: an API key, a token, or workload identity federation.
//! <https://platform.claude.com/docs/en/manage-claude/wif-reference>

mod federation;
mod profile;
mod provider;

pub use self::federation::{AnthropicRefusal, AnthropicSource};
pub use self::provider::AnthropicCredentialProvider;

pub(crate) use self::provider::found;
