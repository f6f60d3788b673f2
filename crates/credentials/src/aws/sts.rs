//! The wire of AWS STS: where a region's is, and what it answers
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/>).

use std::time::SystemTime;

use ::http::StatusCode;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Credential, CredentialError, Issued};
use roxmltree::{Document, Node};

use super::document::arn_in;
use crate::http::Answer;

/// Codes after which only a person can help: the role does not trust this identity, or the region is off.
const REJECTED: [&str; 3] = ["AccessDenied", "MalformedPolicyDocument", "RegionDisabledException"];

/// Codes that pass: STS could not reach the issuer of the token, or is busy.
const PASSING: [&str; 3] = ["IDPCommunicationError", "Throttling", "ThrottlingException"];

/// The token in the file has been replaced meanwhile, or will be.
const EXPIRED: &str = "ExpiredTokenException";

/// Mostly a wrong audience or an unknown issuer; but STS says so as well while it cannot fetch the issuer's keys, so
/// the exchange is tried once more.
const INVALID_TOKEN: &str = "InvalidIdentityToken";

/// AWS's partitions but the first: how their regions begin, and what their hosts end with, for IPv4 and for both
/// protocols. <https://docs.aws.amazon.com/general/latest/gr/sts.html>
const PARTITIONS: [(&str, &str, &str); 6] = [
    ("cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    ("eusc-", "amazonaws.eu", "api.amazonwebservices.eu"),
    ("us-iso-", "c2s.ic.gov", "api.aws.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov", "api.aws.scloud"),
    ("us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
];

/// What STS answered instead of keys: the status and its code, never its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("STS answered {}{}", status.as_u16(), code.as_ref().map(|code| format!(" {code}")).unwrap_or_default())]
#[non_exhaustive]
pub struct StsError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The error's code, such as `AccessDenied`, if it looks like one.
    pub code: Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("STS's answer does not hold temporary keys")]
struct NotKeys;

/// The host of a region's STS. Never the global one, which is one region's and goes down with it.
pub(super) fn host(region: &str, fips: bool, dual_stack: bool) -> Option<String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if region.is_empty() || !region.chars().all(good) {
        return None;
    }
    let elsewhere = PARTITIONS.iter().find(|(prefix, ..)| region.starts_with(prefix));
    let (_, one, both) = elsewhere.unwrap_or(&("", "amazonaws.com", "api.aws"));
    let domain = if dual_stack { both } else { one };
    // GovCloud's usual endpoint is a FIPS endpoint.
    let apart = fips && (dual_stack || !region.starts_with("us-gov-"));
    Some(format!("{}.{region}.{domain}", if apart { "sts-fips" } else { "sts" }))
}

/// Why an exchange failed, and whether reading the token anew may mend it.
pub(super) struct Refused {
    pub(super) error: CredentialError,
    pub(super) expired: bool,
}

impl From<CredentialError> for Refused {
    fn from(error: CredentialError) -> Self {
        Self { error, expired: false }
    }
}

/// The keys in an answer to `AssumeRoleWithWebIdentity`.
pub(super) fn issued(answer: &Answer) -> Result<Issued, Refused> {
    if !answer.status.is_success() {
        return Err(refusal(answer));
    }
    let unavailable = |source: NotKeys| CredentialError::Unavailable {
        retry_after: answer.retry_after,
        source: source.into(),
    };
    keys(&answer.body).ok_or(NotKeys).map_err(unavailable).map_err(Refused::from)
}

/// `ErrorResponse / Error / Code`.
fn refusal(answer: &Answer) -> Refused {
    let code = parsed(&answer.body, |root| child(child(root, "Error")?, "Code")?.text().map(str::to_owned));
    let looks_like_one =
        |code: &String| code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    let code = code.filter(looks_like_one);
    let is = |codes: &[&str]| code.as_deref().is_some_and(|code| codes.contains(&code));
    let (rejected, passing, expired) = (is(&REJECTED), is(&PASSING), is(&[EXPIRED, INVALID_TOKEN]));
    let status = answer.status;
    let source = StsError { status, code };
    let busy = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
    let error = if passing || busy {
        CredentialError::Unavailable { retry_after: answer.retry_after, source: source.into() }
    } else if rejected || expired {
        CredentialError::Rejected(source.into())
    } else {
        CredentialError::Invalid(source.into())
    };
    Refused { error, expired }
}

/// `AssumeRoleWithWebIdentityResponse / AssumeRoleWithWebIdentityResult / Credentials`.
fn keys(body: &[u8]) -> Option<Issued> {
    parsed(body, |root| {
        let result = child(root, "AssumeRoleWithWebIdentityResult")?;
        let keys = child(result, "Credentials")?;
        let text = |name| child(keys, name)?.text().map(str::trim).filter(|text| !text.is_empty());
        let secret = |name| text(name).map(SecretString::from);
        let expires_at: SystemTime = humantime::parse_rfc3339(text("Expiration")?).ok()?;
        let credential = Credential::AwsCredentials {
            access_key_id: secret("AccessKeyId")?,
            secret_access_key: secret("SecretAccessKey")?,
            session_token: Some(secret("SessionToken")?),
        };
        let mut issued = Issued::new(credential, expires_at).from_source("AWS STS web identity");
        let arn = child(result, "AssumedRoleUser").and_then(|of| child(of, "Arn")?.text());
        issued.subject = arn.and_then(arn_in);
        Some(issued)
    })
}

/// Reads an XML answer. The parser refuses document type definitions, and so whatever they could expand to.
fn parsed<T>(body: &[u8], read: impl FnOnce(Node<'_, '_>) -> Option<T>) -> Option<T> {
    let text = std::str::from_utf8(body).ok()?;
    read(Document::parse(text).ok()?.root_element())
}

/// By its local name: STS's answers have a default namespace, its imitations often none.
fn child<'a, 'x>(of: Node<'a, 'x>, name: &str) -> Option<Node<'a, 'x>> {
    of.children().find(|node| node.is_element() && node.tag_name().name() == name)
}
