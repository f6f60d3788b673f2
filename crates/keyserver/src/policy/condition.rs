//! What a rule asks of an identity, and whether that holds.

use std::collections::BTreeSet;
use std::fmt;

use portunus_auth_core::{Pattern, PrincipalId};
use serde::Serialize;
use serde_json::{Map, Value};

use super::email::{Address, address, domain};
use super::pointer::Pointer;
use crate::preset::{EmailTrust, ListForm};

/// The most groups or roles that are looked at.
const MOST: usize = 2000;

/// The texts that are there and what it means that none of them is wanted, or why there are none to compare
/// and what is there instead.
type Texts = Result<(Vec<String>, Finding), (Finding, Vec<String>)>;

/// Who is asked about: the identity, and what its issuer says about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) id: &'a PrincipalId,
    pub(crate) claims: &'a Map<String, Value>,
    /// The claims that were kept, where not all of them were: of the others nothing can be told.
    pub(crate) kept: Option<&'a BTreeSet<String>>,
}

/// Something that a rule asks of an identity.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Condition {
    pub(crate) about: About,
    pub(crate) wanted: Wanted,
}

/// What is looked at.
#[derive(Clone, Debug, Serialize)]
pub(crate) enum About {
    /// The tenant that the identity belongs to.
    Tenant,
    /// The subject.
    Subject,
    /// The groups, in the list there.
    Groups(ListAt),
    /// The roles, in the list there.
    Roles(ListAt),
    /// The claim there, or one item of the list there.
    Claim(Pointer),
    /// The verified e-mail address.
    Email(EmailTrust),
    /// The domain of the verified e-mail address.
    EmailDomain(EmailTrust),
}

/// Where a list is, and how it is written there.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ListAt {
    pub(crate) pointer: Pointer,
    pub(crate) form: ListForm,
    /// A list of so many may lack others.
    pub(crate) truncated_at: Option<usize>,
    /// Whether who has none of it has no list, so that without one nothing is left out.
    pub(crate) none_is_absent: bool,
}

/// What it must be like. Never empty, which the configuration sees to.
#[derive(Clone, Debug, Serialize)]
pub(crate) enum Wanted {
    /// Like one of these.
    Like(Vec<Pattern>),
    /// One of these.
    One(Vec<String>),
    /// One of these, whatever the case of its ASCII letters.
    OneInAnyCase(Vec<String>),
}

/// Whether a condition, or a whole policy, holds for an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth answer")]
pub enum Holds {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// It cannot be told. Grants nothing, and is refused by a policy that denies.
    CannotTell,
}

/// What was found where a condition looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// What is wanted.
    Matches,
    /// Something else.
    Differs,
    /// Nothing.
    Absent,
    /// Nothing, where a token may leave it out: what is wanted may be true all the same.
    NotShown,
    /// Something that is no list of texts, where only a list of texts is believed.
    NoListOfTexts,
    /// Something that cannot be compared: neither a text nor a whole number nor a truth value.
    NotComparable,
    /// More than is looked at.
    TooMany,
    /// The issuer says that it left it out (OpenID Connect Core section 5.6.2).
    LeftOut,
    /// As many as the issuer puts into a token at most: what is wanted may be among those that it left out.
    Truncated,
    /// An address that the issuer has not verified, or does not host.
    NotVerified,
    /// No e-mail address, or one that could be read as two.
    NoAddress,
    /// What is wanted, but for the case of some letters.
    OnlyCaseDiffers,
    /// It was not kept when the key was issued.
    NotKept,
}

impl Finding {
    /// Whether the condition holds.
    pub fn holds(self) -> Holds {
        match self {
            Self::Matches => Holds::Yes,
            Self::Differs | Self::Absent => Holds::No,
            Self::NotShown
            | Self::NoListOfTexts
            | Self::NotComparable
            | Self::TooMany
            | Self::LeftOut
            | Self::Truncated
            | Self::NotVerified
            | Self::NoAddress
            | Self::OnlyCaseDiffers
            | Self::NotKept => Holds::CannotTell,
        }
    }
}

impl Holds {
    /// Whether both hold.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::CannotTell, _) | (_, Self::CannotTell) => Self::CannotTell,
            (Self::Yes, Self::Yes) => Self::Yes,
        }
    }
}

impl Condition {
    /// Whether it holds.
    pub(crate) fn holds(&self, asked: &Asked<'_>) -> Holds {
        self.look(asked).0.holds()
    }

    /// What is there, and the texts that were compared.
    pub(crate) fn look(&self, asked: &Asked<'_>) -> (Finding, Vec<String>) {
        let was_kept = |claim| asked.kept.is_none_or(|kept| kept.contains(claim));
        if !self.about.claims().iter().all(was_kept) {
            return (Finding::NotKept, Vec::new());
        }
        match self.about.read(asked) {
            Ok((texts, otherwise)) if self.wanted.among(&texts) == Finding::Differs => (otherwise, texts),
            Ok((texts, _)) => (self.wanted.among(&texts), texts),
            Err((finding, texts)) => (finding, texts),
        }
    }
}

impl About {
    /// The claims that must be there to tell.
    pub(crate) fn claims(&self) -> Vec<String> {
        match self {
            Self::Tenant | Self::Subject => Vec::new(),
            Self::Groups(ListAt { pointer, .. }) => {
                vec![pointer.claim(), "_claim_names".to_owned(), "hasgroups".to_owned()]
            }
            Self::Roles(ListAt { pointer, .. }) | Self::Claim(pointer) => {
                vec![pointer.claim(), "_claim_names".to_owned()]
            }
            Self::Email(trust) | Self::EmailDomain(trust) => {
                let hosted = (*trust == EmailTrust::Hosted).then_some("hd");
                ["email", "email_verified"].into_iter().chain(hosted).map(str::to_owned).collect()
            }
        }
    }

    fn read(&self, asked: &Asked<'_>) -> Texts {
        let claims = asked.claims;
        match self {
            Self::Tenant => Ok((vec![asked.id.tenant.as_str().to_owned()], Finding::Differs)),
            Self::Subject => Ok((vec![(*asked.id.subject).to_owned()], Finding::Differs)),
            // Entra's way to say that there are too many of them.
            Self::Groups(at)
                if at.pointer.find(claims).is_none()
                    && (claims.contains_key("hasgroups") || claims.contains_key("_claim_names")) =>
            {
                Err((Finding::LeftOut, Vec::new()))
            }
            Self::Groups(at) | Self::Roles(at) => list(at, claims),
            Self::Claim(pointer) => values(pointer.find(claims), pointer, claims),
            Self::Email(trust) => Ok((vec![verified_address(claims, *trust)?.text], Finding::Differs)),
            Self::EmailDomain(trust) => {
                Ok((vec![verified_address(claims, *trust)?.domain], Finding::Differs))
            }
        }
    }
}

/// As a policy writes it.
impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant => f.write_str("tenant"),
            Self::Subject => f.write_str("subject"),
            Self::Groups(at) => write!(f, "groups {}", at.pointer),
            Self::Roles(at) => write!(f, "roles {}", at.pointer),
            Self::Claim(pointer) => write!(f, "claims {pointer}"),
            Self::Email(_) => f.write_str("email"),
            Self::EmailDomain(_) => f.write_str("email_domain"),
        }
    }
}

impl Wanted {
    fn among(&self, texts: &[String]) -> Finding {
        let in_any_case = |wanted: &[String]| {
            texts.iter().any(|text| wanted.iter().any(|one| one.eq_ignore_ascii_case(text)))
        };
        let is = match self {
            Self::Like(patterns) => {
                texts.iter().any(|text| patterns.iter().any(|pattern| pattern.matches(text)))
            }
            Self::OneInAnyCase(wanted) => in_any_case(wanted),
            Self::One(wanted) if texts.iter().any(|text| wanted.contains(text)) => true,
            Self::One(wanted) if in_any_case(wanted) => return Finding::OnlyCaseDiffers,
            Self::One(_) => false,
        };
        if is { Finding::Matches } else { Finding::Differs }
    }

    /// As written.
    pub(crate) fn texts(&self) -> Vec<String> {
        match self {
            Self::Like(patterns) => patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            Self::One(texts) | Self::OneInAnyCase(texts) => texts.clone(),
        }
    }
}

/// The items of a list of texts, and of nothing else.
fn list(at: &ListAt, claims: &Map<String, Value>) -> Texts {
    let nothing_told = |finding| Err((finding, Vec::new()));
    let texts: Option<Vec<String>> = match at.pointer.find(claims) {
        None | Some(Value::Null) => {
            let finding = nothing(&at.pointer, claims);
            let may_be_some = finding == Finding::Absent && !at.none_is_absent;
            return nothing_told(if may_be_some { Finding::NotShown } else { finding });
        }
        Some(Value::Array(items)) if items.len() > MOST => return nothing_told(Finding::TooMany),
        Some(Value::Array(items)) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        // A comma could be part of a name, or be between two.
        Some(Value::String(text)) if at.form == ListForm::ListOrText => {
            let is_clear = text.contains(';') || !text.contains([',', '|']);
            let items = text.split(';').map(str::trim).filter(|item| !item.is_empty());
            is_clear.then(|| items.map(str::to_owned).collect())
        }
        Some(_) => None,
    };
    match texts {
        None => nothing_told(Finding::NoListOfTexts),
        Some(texts) if texts.len() > MOST => nothing_told(Finding::TooMany),
        Some(texts) => {
            let may_be_more = at.truncated_at.is_some_and(|most| texts.len() >= most);
            Ok((texts, if may_be_more { Finding::Truncated } else { Finding::Differs }))
        }
    }
}

/// The value, or those in the list: texts, whole numbers and truth values, as they are written.
fn values(found: Option<&Value>, pointer: &Pointer, claims: &Map<String, Value>) -> Texts {
    let items = match found {
        None | Some(Value::Null) => return Err((nothing(pointer, claims), Vec::new())),
        Some(Value::Array(items)) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    if items.len() > MOST {
        return Err((Finding::TooMany, Vec::new()));
    }
    let text = |item: &Value| match item {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_u64() || number.is_i64() => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    };
    let texts: Vec<String> = items.iter().filter_map(text).collect();
    let otherwise = if texts.len() == items.len() { Finding::Differs } else { Finding::NotComparable };
    Ok((texts, otherwise))
}

/// Why there is nothing.
fn nothing(pointer: &Pointer, claims: &Map<String, Value>) -> Finding {
    match claims.get("_claim_names") {
        None => Finding::Absent,
        Some(Value::Object(elsewhere)) if !elsewhere.contains_key(&pointer.claim()) => Finding::Absent,
        Some(_) => Finding::LeftOut,
    }
}

fn verified_address(
    claims: &Map<String, Value>,
    trust: EmailTrust,
) -> Result<Address, (Finding, Vec<String>)> {
    let email = match claims.get("email") {
        None | Some(Value::Null) => return Err((Finding::NotShown, Vec::new())),
        Some(Value::String(email)) => email,
        Some(_) => return Err((Finding::NoAddress, Vec::new())),
    };
    let address = address(email).ok_or_else(|| (Finding::NoAddress, vec![email.clone()]))?;
    let hosts = || {
        let domain = claims.get("hd").and_then(Value::as_str).and_then(domain);
        domain.is_some_and(|hosted| hosted == address.domain) || address.domain == "gmail.com"
    };
    let believed = match trust {
        EmailTrust::Verified => true,
        EmailTrust::Hosted => hosts(),
        EmailTrust::Never => false,
    };
    match claims.get("email_verified") {
        Some(Value::Bool(true)) if believed => Ok(address),
        _ => Err((Finding::NotVerified, vec![address.text])),
    }
}
