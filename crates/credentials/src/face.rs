//! What a provider does that is a cache of its source and nothing else.

/// Implements `CredentialProvider` for a newtype around a `Cached`.
#[cfg(any(feature = "azure-auth", feature = "bedrock-auth", feature = "vertex-auth"))]
macro_rules! answers_from_its_cache {
    ($provider:ident) => {
        #[async_trait]
        impl portunus_auth_core::CredentialProvider for $provider {
            async fn resolve(
                &self,
            ) -> Result<portunus_auth_core::Credential, portunus_auth_core::CredentialError> {
                self.0.resolve().await
            }

            fn held(&self) -> Option<std::sync::Arc<portunus_auth_core::Credential>> {
                self.0.held()
            }

            fn invalidate(&self, refused: &portunus_auth_core::Credential) {
                self.0.invalidate(refused);
            }
        }
    };
}
