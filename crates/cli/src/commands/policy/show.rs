//! Explanations and results as a person reads them.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use portunus_auth_core::{Allow, Pattern};
use portunus_keyserver::{
    CaseResult, Considered, Explanation, Finding, Got, Holds, Looked, Offer, PolicyEffect, Ruling,
};
use serde::Serialize;

/// How a case went, for programs.
#[derive(Serialize)]
pub(super) struct Case<'r> {
    pub(super) file: &'r Path,
    #[serde(flatten)]
    pub(super) result: &'r CaseResult,
}

pub(super) fn explanation(explanation: &Explanation) -> String {
    let Explanation { ruling, policy, why, grant, identity, others, .. } = explanation;
    let mut text = format!(
        "{} of issuer {}, tenant {}. NOT VERIFIED: the claims are taken as given.\n\n",
        safe(&identity.subject),
        safe(&identity.issuer),
        identity.tenant,
    );
    let policy = policy.as_deref().unwrap_or_default();
    let _ = match ruling {
        Ruling::Granted => writeln!(text, "GRANTED by policy {policy}"),
        Ruling::Denied => writeln!(text, "DENIED by policy {policy}"),
        Ruling::NoPolicy => writeln!(text, "REFUSED: no policy that grants is about them"),
        Ruling::NotNamed => writeln!(text, "REFUSED: the policy that is named is not about them"),
        Ruling::NothingLeft => {
            writeln!(text, "REFUSED: of what policy {policy} grants, earlier policies leave nothing")
        }
        _ => writeln!(text, "REFUSED"),
    };
    if let Some(offer) = grant {
        text += &terms(offer);
    }
    if !why.is_empty() {
        text += "\nBecause\n";
        text += &conditions(why.iter());
    }
    if !others.is_empty() {
        text += "\nOther policies\n";
        for other in others {
            text += &considered(other);
        }
    }
    text
}

fn terms(offer: &Offer) -> String {
    let ttl = humantime::format_duration(Duration::from_secs(offer.ttl)).to_string();
    let mut text = String::new();
    for (name, value) in [
        ("models", allowed(&offer.models)),
        ("tools", allowed(&offer.tools)),
        ("upstreams", allowed(&offer.upstreams)),
        ("roles", allowed(&offer.roles)),
        ("tier", offer.tier.to_string()),
        ("ttl", ttl),
        ("scope", offer.scope.clone()),
    ] {
        let _ = writeln!(text, "  {name:<10} {}", safe(&value));
    }
    text
}

fn allowed(allow: &Allow<Pattern>) -> String {
    match allow {
        Allow::All => "all".to_owned(),
        Allow::Only(patterns) if patterns.is_empty() => "none".to_owned(),
        Allow::Only(patterns) => patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join(", "),
    }
}

fn considered(other: &Considered) -> String {
    let effect = if other.effect == PolicyEffect::Deny { "denies" } else { "grants" };
    let is = match other.holds {
        Holds::Yes => "is about them, but another comes first",
        Holds::No => "is not about them",
        Holds::CannotTell => "cannot be told",
    };
    format!("  {} ({effect}): {is}\n", other.policy) + &conditions(other.failed())
}

fn conditions<'l>(looked: impl Iterator<Item = &'l Looked>) -> String {
    let rows: Vec<_> = looked.map(|one| (safe(&one.field), finding(one.finding), one)).collect();
    let width = rows.iter().map(|(field, ..)| field.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for (field, finding, one) in rows {
        let _ = writeln!(text, "    {field:<width$}  {finding}: wanted {}", list(&one.wanted));
        if !one.found.is_empty() {
            let _ = writeln!(text, "    {:width$}  found {}", "", list(&one.found));
        }
    }
    text
}

fn finding(finding: Finding) -> &'static str {
    match finding {
        Finding::Matches => "matches",
        Finding::Differs => "differs",
        Finding::Absent => "absent",
        Finding::NoListOfTexts => "no list of texts",
        Finding::NotComparable => "cannot be compared",
        Finding::TooMany => "too many to look at",
        Finding::LeftOut => "left out by the issuer",
        Finding::NotVerified => "an address that is not verified",
        Finding::NoAddress => "no e-mail address",
        Finding::OnlyCaseDiffers => "differs in case only",
        Finding::NotKept => "not kept",
        _ => "cannot be told",
    }
}

/// The first few, because a token may hold thousands.
fn list(texts: &[String]) -> String {
    const MOST: usize = 10;
    let shown: Vec<String> = texts.iter().take(MOST).map(|text| safe(text)).collect();
    let more = texts.len().saturating_sub(MOST);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("[{}]{rest}", shown.join(", "))
}

pub(super) fn case(path: &Path, result: &CaseResult) -> String {
    let word = if result.passed { "ok    " } else { "FAILED" };
    let mut text = format!("{word}  {}: {}\n", path.display(), safe(&result.name));
    for difference in &result.differences {
        let (expected, got) = (difference.expected.to_string(), difference.got.to_string());
        let _ = writeln!(text, "        {}: expected {expected}, got {got}", difference.field);
    }
    match &result.got {
        Got::Error(why) => {
            let _ = writeln!(text, "        {why}");
        }
        Got::Explanation(explained) if !result.passed => {
            for line in explanation(explained).lines().skip(2) {
                let _ = writeln!(text, "        {line}");
            }
        }
        _ => {}
    }
    text
}

/// Without what could move the cursor or turn the text around: a claim may be anybody's.
fn safe(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_ascii_graphic() || c == ' ' { vec![c] } else { c.escape_debug().collect() })
        .collect()
}
