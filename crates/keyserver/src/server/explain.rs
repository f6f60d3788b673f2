//! What the policies say about somebody, without doing it.

use portunus_auth_core::{BearerToken, BoxError};

use super::{KeyServer, NotIdentified};
use crate::issuer::TokenKind;
use crate::jose::Refused;
use crate::policy::{Explanation, Question, Unanswerable};

/// Why nothing is explained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// The claims are nobody's.
    #[error("the claims are nobody's")]
    Claims(#[from] Unanswerable),
    /// The token is no good.
    #[error("the token is not acceptable")]
    Token(#[from] Refused),
    /// The issuer's keys cannot be had. Try again later.
    #[error("the issuer's keys cannot be had")]
    Unavailable(#[source] BoxError),
}

impl KeyServer {
    /// What the policies in force say about whoever has these claims, which nobody verifies. Issues nothing,
    /// and leaves no audit event: nothing is decided.
    ///
    /// # Errors
    /// [`ExplainError::Claims`].
    pub fn explain(&self, question: &Question) -> Result<Explanation, ExplainError> {
        Ok(self.0.policies.load().explain(question)?)
    }

    /// What the policies in force say about the holder of this token, after verifying it. The token is not
    /// spent.
    ///
    /// # Errors
    /// [`ExplainError::Token`] and [`ExplainError::Unavailable`].
    pub async fn explain_token(
        &self,
        token: &BearerToken,
        policy: Option<&str>,
    ) -> Result<Explanation, ExplainError> {
        match self.identify(token, TokenKind::Any).await {
            Ok((identity, _)) => Ok(self.0.policies.load().explained(&identity.asked(), policy)),
            Err(NotIdentified::Refused(refused)) => Err(refused.into()),
            Err(NotIdentified::Unavailable(down)) => Err(ExplainError::Unavailable(down.into())),
        }
    }
}
