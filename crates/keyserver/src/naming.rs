//! Whom a token's claims are about: tenant, issuer and subject.

use std::collections::BTreeMap;
use std::sync::Arc;

use portunus_auth_core::{PrincipalId, TenantId};
use serde_json::{Map, Value};

use crate::jose::Refused;
use crate::policy::Pointer;
use crate::preset::{SPIFFE_SCHEME, SubjectRule};

/// The longest subject, in bytes. OpenID Connect Core section 2 allows 255 characters.
const MAX_SUBJECT: usize = 512;

/// A name by which an issuer goes in tokens.
#[derive(Clone, Debug)]
pub(crate) struct IssuedAs {
    /// The `iss`, character by character.
    pub(crate) iss: String,
    /// The directory (`tid`) whose tokens alone may be named so.
    directory: Option<String>,
}

impl IssuedAs {
    pub(crate) fn plain(iss: &str) -> Self {
        Self { iss: iss.to_owned(), directory: None }
    }

    pub(crate) fn of(iss: String, directory: &str) -> Self {
        Self { iss, directory: Some(directory.to_owned()) }
    }
}

/// Whose users an issuer knows.
#[derive(Clone, Debug)]
pub(crate) enum Tenancy {
    One(TenantId),
    /// The tenant that is listed for the text there; nobody's, if none is.
    ByClaim(Pointer, BTreeMap<String, TenantId>),
}

impl Tenancy {
    /// All of them.
    pub(crate) fn tenants(&self) -> Vec<&TenantId> {
        match self {
            Self::One(tenant) => vec![tenant],
            Self::ByClaim(_, tenants) => tenants.values().collect(),
        }
    }
}

/// How an issuer names itself and its users.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    /// Its name in the configuration.
    pub(crate) name: Arc<str>,
    /// Its names in tokens. Never empty; the first is the one that is configured.
    pub(crate) names: Vec<IssuedAs>,
    pub(crate) tenancy: Tenancy,
    pub(crate) subject: SubjectRule,
    /// The trust domain of its SPIFFE IDs.
    pub(crate) trust_domain: Option<String>,
    /// Claims that its tokens must have.
    pub(crate) required: Vec<Pointer>,
    /// The claims that name the client that a token was issued to.
    pub(crate) party_claims: &'static [&'static str],
}

impl Naming {
    /// An issuer of that one name, for one tenant, whose tokens say by `sub` whom they are about.
    pub(crate) fn plain(name: &str, url: &str, tenant: TenantId) -> Self {
        Self {
            name: name.into(),
            names: vec![IssuedAs::plain(url)],
            tenancy: Tenancy::One(tenant),
            subject: SubjectRule::Sub,
            trust_domain: None,
            required: Vec::new(),
            party_claims: &["azp"],
        }
    }

    /// Whether it goes by this name in tokens.
    pub(crate) fn goes_by(&self, iss: &str) -> bool {
        self.issued_as(iss).is_some()
    }

    fn issued_as(&self, iss: &str) -> Option<&IssuedAs> {
        self.names.iter().find(|name| name.iss == iss)
    }

    /// The name that a token goes by which names no issuer.
    pub(crate) fn canonical(&self) -> &str {
        self.names.first().map_or("", |name| &name.iss)
    }

    /// Whether it is known by the trust domain of its subjects, so that its tokens need not name it.
    pub(crate) fn is_trust_domain(&self) -> bool {
        self.trust_domain.is_some() && self.canonical().starts_with(SPIFFE_SCHEME)
    }

    /// Whether verified claims are a token of this issuer, of the kind that it is configured for.
    ///
    /// # Errors
    /// [`Refused::UnknownIssuer`] and [`Refused::WrongClaims`].
    pub(crate) fn check(&self, claims: &Map<String, Value>) -> Result<(), Refused> {
        match claims.get("iss") {
            Some(Value::String(iss)) if self.goes_by(iss) => {}
            None if self.is_trust_domain() => {}
            Some(Value::String(_)) => return Err(Refused::UnknownIssuer),
            _ => return Err(Refused::WrongClaims),
        }
        let is_there = |pointer: &Pointer| match pointer.find(claims) {
            None | Some(Value::Null) => false,
            Some(Value::String(text)) => !text.is_empty(),
            Some(_) => true,
        };
        if !self.required.iter().all(is_there) {
            return Err(Refused::WrongClaims);
        }
        if self.subject == SubjectRule::ServiceAccount {
            // Two claims that say the same could not both be right if they differ.
            let bound = |pointer: &str| {
                claims.get("kubernetes.io").and_then(|about| about.pointer(pointer)?.as_str())
            };
            let (namespace, name) = service_account(subject(claims)?)?;
            if bound("/namespace") != Some(namespace) || bound("/serviceaccount/name") != Some(name) {
                return Err(Refused::WrongClaims);
            }
        }
        Ok(())
    }

    /// Whom the claims are about.
    ///
    /// # Errors
    /// [`Refused::WrongClaims`] when they name nobody, [`Refused::UnknownTenant`] when they are nobody's whom
    /// we serve.
    pub(crate) fn whose(&self, claims: &Map<String, Value>) -> Result<PrincipalId, Refused> {
        let subject = match self.subject {
            SubjectRule::Sub => subject(claims)?.to_owned(),
            SubjectRule::ServiceAccount => {
                let subject = subject(claims)?;
                service_account(subject)?;
                subject.to_owned()
            }
            SubjectRule::SpiffeId => {
                let id = subject(claims)?;
                let domain = trust_domain(id).ok_or(Refused::WrongClaims)?;
                if self.trust_domain.as_deref() != Some(domain) {
                    return Err(Refused::UnknownTenant);
                }
                id.to_owned()
            }
            SubjectRule::Directory => self.in_directory(claims)?,
        };
        let tenant = match &self.tenancy {
            Tenancy::One(tenant) => tenant,
            Tenancy::ByClaim(pointer, tenants) => {
                let named = pointer.find(claims).and_then(Value::as_str);
                named.and_then(|named| tenants.get(named)).ok_or(Refused::UnknownTenant)?
            }
        };
        Ok(PrincipalId { tenant: tenant.clone(), issuer: self.name.clone(), subject: subject.into() })
    }

    /// Whether a key of this issuer, by the key set, signs such tokens. Entra publishes the keys of several
    /// directories in one set; `{tenantid}` stands for each of them.
    pub(crate) fn may_be_signed_by(&self, key_issuer: Option<&str>, claims: &Map<String, Value>) -> bool {
        let (SubjectRule::Directory, Some(key_issuer)) = (self.subject, key_issuer) else { return true };
        let directory = claims.get("tid").and_then(Value::as_str);
        key_issuer.split('/').any(|part| part == "{tenantid}" || Some(part) == directory)
    }

    /// A directory vouches for its own users only, whichever of its names it goes by.
    fn in_directory(&self, claims: &Map<String, Value>) -> Result<String, Refused> {
        let (directory, user) = (text(claims, "tid")?, text(claims, "oid")?);
        if !is_guid(directory) || !is_guid(user) {
            return Err(Refused::WrongClaims);
        }
        let is_its = |name: &IssuedAs| name.directory.as_deref() == Some(directory);
        let known = match claims.get("iss") {
            Some(Value::String(iss)) => self.issued_as(iss).is_some_and(is_its),
            Some(_) => false,
            None => self.names.iter().any(is_its),
        };
        if known { Ok(format!("{directory}/{user}")) } else { Err(Refused::UnknownTenant) }
    }
}

/// A claim that must be a text and not empty.
pub(crate) fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Result<&'c str, Refused> {
    match claims.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        _ => Err(Refused::WrongClaims),
    }
}

/// The subject: a name that is safe to show and to compare.
fn subject(claims: &Map<String, Value>) -> Result<&str, Refused> {
    let subject = text(claims, "sub")?;
    if subject.len() > MAX_SUBJECT || subject.contains(char::is_control) {
        return Err(Refused::WrongClaims);
    }
    Ok(subject)
}

/// The namespace and the name in a service account's subject.
fn service_account(subject: &str) -> Result<(&str, &str), Refused> {
    let both = subject.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    let (namespace, name) = both.ok_or(Refused::WrongClaims)?;
    if namespace.is_empty() || name.is_empty() || name.contains(':') {
        return Err(Refused::WrongClaims);
    }
    Ok((namespace, name))
}

/// The trust domain of a SPIFFE ID (SPIFFE-ID section 2) of a workload, whose path is not empty.
pub(crate) fn trust_domain(id: &str) -> Option<&str> {
    let (domain, path) = id.strip_prefix("spiffe://")?.split_once('/')?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_segment =
        |segment: &str| !segment.is_empty() && segment != "." && segment != ".." && segment.chars().all(good);
    (is_trust_domain(domain) && path.split('/').all(is_segment)).then_some(domain)
}

/// Whether it can be a trust domain (SPIFFE-ID section 2.1).
pub(crate) fn is_trust_domain(text: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    (1..=255).contains(&text.len()) && text.chars().all(good)
}

/// Whether it is an id as Microsoft writes it: lower-case hexadecimal digits, 8-4-4-4-12.
pub(crate) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.char_indices().all(|(place, c)| match place {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_digit() || matches!(c, 'a'..='f'),
        })
}
