//! Amazon Web Services: keys from wherever a workload gets them, and the signatures made with them.

mod bedrock;
#[cfg(feature = "aws-chain")]
mod connector;
mod container;
mod default;
mod document;
mod imds;
mod keys;
mod minted;
#[cfg(feature = "aws-chain")]
mod profile;
mod sign;
mod sts;
mod web_identity;

pub use self::bedrock::BedrockApiKeySource;
pub use self::container::ContainerSource;
pub use self::default::AwsCredentialProvider;
pub use self::document::MetadataError;
pub use self::imds::InstanceMetadataSource;
pub use self::keys::AwsKeysSource;
pub use self::minted::BedrockMintedKeySource;
#[cfg(feature = "aws-chain")]
pub use self::profile::{AwsProfileSource, ProfileError};
pub use self::sign::{PayloadHash, SignError, Signer};
pub use self::sts::StsError;
pub use self::web_identity::{WebIdentityCredentialProvider, WebIdentitySource};

pub(crate) use self::default::chain;
#[cfg(feature = "vertex-auth")]
pub(crate) use self::document::{keys, refusal};
pub(crate) use self::web_identity::SESSION_NAME;
