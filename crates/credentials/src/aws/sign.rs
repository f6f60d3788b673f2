//! AWS Signature Version 4, by AWS's own crate: what is signed is the request as it travels.

use std::fmt;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use ::http::header::{AUTHORIZATION, HOST};
use ::http::request::Parts;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use aws_credential_types::Credentials;
use aws_lc_rs::digest::{SHA256, digest};
use aws_sigv4::http_request::{
    PercentEncodingMode, SessionTokenMode, SignableBody, SignableRequest, SignatureLocation,
    SigningInstructions, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use portunus_auth_core::secret::{ExposeSecret, SecretString};
use portunus_auth_core::{BoxError, Credential};
use tracing::Dispatch;
use url::{Url, form_urlencoded};

/// Signs requests to one service in one region.
///
/// The path is signed as it stands in the URI, percent-encoded once more, as every service but S3 wants
/// it: a `:` in a model's id travels as `%3A` and is signed as `%253A`. Whoever encodes the path anew
/// after signing breaks the signature.
#[derive(Clone, Debug)]
pub struct Signer {
    region: String,
    service: String,
}

/// The SHA-256 of a request's body. Taken once, it serves every signature of the same body.
#[derive(Clone, PartialEq, Eq)]
pub struct PayloadHash(String);

impl PayloadHash {
    /// The hash of this body.
    pub fn of(body: &[u8]) -> Self {
        let mut hex = String::with_capacity(64);
        for byte in digest(&SHA256, body).as_ref() {
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }
}

impl fmt::Debug for PayloadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a request could not be signed. Holds none of the keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// Only [`Credential::AwsCredentials`] can sign.
    #[error("only AWS credentials can sign a request")]
    NotAwsCredentials,
    /// The URI or a header cannot be part of a signed request.
    #[error("the request cannot be signed")]
    Request(#[source] BoxError),
}

impl Signer {
    /// For a region such as `eu-central-1` and a service's signing name such as `bedrock` or `sts`.
    pub fn new(region: impl Into<String>, service: impl Into<String>) -> Self {
        Self { region: region.into(), service: service.into() }
    }

    /// Signs the request: sets `x-amz-date`, `authorization` and, for temporary credentials,
    /// `x-amz-security-token`, in place of any that are there. Every other header that `headers` holds
    /// is signed as it is, but for `user-agent` and those that a proxy may change; `host` is taken from
    /// the URI where it is missing.
    ///
    /// A signature is good for some minutes, so a request that is sent again is signed again.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(
        &self,
        credential: &Credential,
        method: &Method,
        uri: &Uri,
        headers: &mut HeaderMap,
        body: &PayloadHash,
        now: SystemTime,
    ) -> Result<(), SignError> {
        let settings = SigningSettings::default();
        let host = if headers.contains_key(HOST) { None } else { Some(host(uri)?) };
        for name in SET_BY_SIGNING {
            headers.remove(name);
        }
        let request = signable(method, uri, headers, body)?;
        let (set, _) = self.signed(settings, credential, request, now)?.into_parts();
        for header in set {
            let mut value =
                HeaderValue::from_str(header.value()).map_err(|error| SignError::Request(error.into()))?;
            value.set_sensitive(header.sensitive() || header.name() == AUTHORIZATION.as_str());
            headers.insert(HeaderName::from_static(header.name()), value);
        }
        if let Some(host) = host {
            headers.insert(HOST, host);
        }
        Ok(())
    }
}

impl Signer {
    /// The URI with the signature in its query, good until `expires_in` has passed: at most seven days, and
    /// no longer than temporary credentials live. The request's headers, and `host`, have to be sent with
    /// it as they are. Whoever has the URI can make the request, so it is a secret.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn presign(
        &self,
        credential: &Credential,
        request: &Parts,
        body: &PayloadHash,
        expires_in: Duration,
        now: SystemTime,
    ) -> Result<SecretString, SignError> {
        let signed = self.presigned(credential, request, body, expires_in, now)?;
        Ok(SecretString::from(String::from(signed)))
    }

    pub(super) fn presigned(
        &self,
        credential: &Credential,
        request: &Parts,
        body: &PayloadHash,
        expires_in: Duration,
        now: SystemTime,
    ) -> Result<Url, SignError> {
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(expires_in);
        let Parts { method, uri, headers, .. } = request;
        host(uri)?;
        let signable = signable(method, uri, headers, body)?;
        let (_, added) = self.signed(settings, credential, signable, now)?.into_parts();
        let mut signed = Url::parse(&uri.to_string()).map_err(|error| SignError::Request(error.into()))?;
        let mut query = signed.query().unwrap_or_default().to_owned();
        for (name, value) in added {
            let encoded: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
            let separator = if query.is_empty() { "" } else { "&" };
            let _ = write!(query, "{separator}{name}={}", encoded.replace('+', "%20"));
        }
        signed.set_query(Some(&query));
        Ok(signed)
    }

    /// The headers and the query parameters that the signature adds.
    fn signed(
        &self,
        mut settings: SigningSettings,
        credential: &Credential,
        request: SignableRequest<'_>,
        now: SystemTime,
    ) -> Result<SigningInstructions, SignError> {
        settings.percent_encoding_mode = PercentEncodingMode::Double;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Enabled;
        settings.session_token_mode = SessionTokenMode::Include;
        let identity = identity(credential)?.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(now)
            .settings(settings)
            .build()
            .map_err(|error| SignError::Request(error.into()))?
            .into();
        // The signer traces the access key's id, and whatever else it is given to sign.
        let silent = Dispatch::none();
        let signed = tracing::dispatcher::with_default(&silent, || sign(request, &parameters))
            .map_err(|error| SignError::Request(error.into()))?;
        Ok(signed.into_parts().0)
    }
}

/// As it is signed and sent: without a user name, and without the port that the scheme implies.
fn host(uri: &Uri) -> Result<HeaderValue, SignError> {
    let authority = uri.authority().ok_or_else(|| SignError::Request("the URI has no host".into()))?;
    let implied = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    let host = match authority.port_u16().filter(|port| *port != implied) {
        Some(port) => format!("{}:{port}", authority.host()),
        None => authority.host().to_owned(),
    };
    HeaderValue::try_from(host).map_err(|error| SignError::Request(error.into()))
}

fn signable<'a>(
    method: &'a Method,
    uri: &Uri,
    headers: &'a HeaderMap,
    body: &PayloadHash,
) -> Result<SignableRequest<'a>, SignError> {
    let given = headers
        .iter()
        .map(|(name, value)| value.to_str().map(|value| (name.as_str(), value)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| SignError::Request(error.into()))?;
    let body = SignableBody::Precomputed(body.0.clone());
    SignableRequest::new(method.as_str(), uri.to_string(), given.into_iter(), body)
        .map_err(|error| SignError::Request(error.into()))
}

/// What an earlier signature may have left behind.
const SET_BY_SIGNING: [HeaderName; 3] =
    [AUTHORIZATION, HeaderName::from_static("x-amz-date"), HeaderName::from_static("x-amz-security-token")];

fn identity(credential: &Credential) -> Result<Credentials, SignError> {
    let Credential::AwsCredentials { access_key_id, secret_access_key, session_token } = credential else {
        return Err(SignError::NotAwsCredentials);
    };
    let open = |secret: &SecretString| secret.expose_secret().to_owned();
    let token = session_token.as_ref().map(open);
    Ok(Credentials::new(open(access_key_id), open(secret_access_key), token, None, "portunus"))
}
