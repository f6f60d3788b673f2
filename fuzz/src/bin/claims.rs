//! Any JSON object as what an issuer says about somebody: policies decide, and grant nothing but what is
//! written in them.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use portunus_auth_core::{Allow, Pattern};
use portunus_keyserver::{Config, Policies, Question, Ruling};

static POLICIES: LazyLock<Policies> = LazyLock::new(|| {
    let config: Config = toml::from_str(include_str!("../policies.toml")).expect("a configuration");
    Policies::new(&config).expect("policies")
});
static WIDEST: LazyLock<Allow<Pattern>> =
    LazyLock::new(|| Allow::only(["gpt-*", "claude-*"].map(|text| Pattern::new(text).expect("a pattern"))));

fuzz_target!(|text: &[u8]| {
    let Ok(mut question) = Question::from_claims(text) else { return };
    question.issuer = Some("idp".to_owned());
    // Whatever they say of themselves, the claim that a policy denies by outweighs it.
    let leaves = question
        .claims
        .get("groups")
        .and_then(|groups| groups.as_array())
        .is_some_and(|groups| groups.iter().any(|group| group == "leaving"));
    let Ok(explanation) = POLICIES.explain(&question) else { return };
    if let Some(offer) = &explanation.grant {
        assert_eq!(explanation.ruling, Ruling::Granted);
        assert!(WIDEST.covers(&offer.models) && offer.tools.is_nothing() && offer.roles.is_nothing());
        assert!(!leaves, "somebody who is denied was granted something");
    }
});
