//! Microsoft Entra ID, and the identities that Azure gives to its machines.

mod certificate;
mod managed;
mod provider;
mod source;

pub use self::certificate::ClientCertificate;
pub use self::managed::{AzureManagedIdentityProvider, AzureManagedIdentitySource, ManagedIdentityId};
pub use self::provider::AzureAdCredentialProvider;
pub use self::source::AzureAdSource;
pub(crate) use self::source::{Misconfigured, Proof, SCOPE};
