//! What a provider does that keeps a credential and does nothing else.

/// Implements `CredentialProvider` for a newtype around another one.
#[cfg(any(
    feature = "anthropic-auth",
    feature = "azure-auth",
    feature = "bedrock-auth",
    feature = "openai-auth",
    feature = "vertex-auth"
))]
macro_rules! answers_from_its_cache {
    ($provider:ident) => {
        answers_from_its_cache!($provider, 0);
    };
    ($provider:ident, $inner:tt) => {
        #[async_trait]
        impl portunus_auth_core::CredentialProvider for $provider {
            async fn resolve(
                &self,
            ) -> Result<portunus_auth_core::Credential, portunus_auth_core::CredentialError> {
                portunus_auth_core::CredentialProvider::resolve(&self.$inner).await
            }

            fn held(&self) -> Option<std::sync::Arc<portunus_auth_core::Credential>> {
                portunus_auth_core::CredentialProvider::held(&self.$inner)
            }

            fn renews(&self) -> bool {
                portunus_auth_core::CredentialProvider::renews(&self.$inner)
            }

            fn invalidate(&self, refused: &portunus_auth_core::Credential) {
                portunus_auth_core::CredentialProvider::invalidate(&self.$inner, refused);
            }
        }
    };
}
