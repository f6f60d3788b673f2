use portunus_auth_core::{PrincipalId, TenantId};
use serde_json::json;

use super::*;

fn at_the_start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1000)
}

fn identity(claims: Value) -> Identity {
    let Value::Object(claims) = claims else { panic!("claims are an object") };
    let id = PrincipalId {
        tenant: TenantId::new("acme").unwrap(),
        issuer: "idp".into(),
        subject: "repo:acme/app".into(),
    };
    Identity::verified(id, claims, [0; 32], at_the_start(), at_the_start())
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::new(text).unwrap()).collect()
}

fn admits(condition: Condition, claims: Value) -> bool {
    let terms = Terms {
        models: Allow::All,
        tools: Allow::none(),
        upstreams: Allow::All,
        roles: Allow::none(),
        tier: TierName::new("standard").unwrap(),
        ttl: Duration::from_secs(60),
        reusable_subject_token: false,
    };
    let rule = Rule {
        name: "a".into(),
        issuer: "idp".into(),
        conditions: vec![condition],
        effect: Effect::Grant(terms),
    };
    let policies = Policies { rules: vec![rule] };
    policies.decide(&identity(claims), None, Duration::from_secs(60), at_the_start()).is_some()
}

#[test]
fn a_claim_is_found_by_its_pointer() {
    let claims = json!({
        "repository_id": "42",
        "number": 42,
        "flag": true,
        "float": 42.0,
        "nothing": null,
        "list": ["a", 42],
        "https://app/roles": ["admin"],
        "a~b": "x",
        "": "x",
        "org": {"id": "7", "list": [{"id": "7"}]},
    });
    for (pointer, pattern, holds) in [
        ("/repository_id", "42", true),
        ("/repository_id", "4", false),
        ("/repository_id", "4*", true),
        ("/number", "42", true),
        ("/flag", "true", true),
        ("/flag", "false", false),
        ("/float", "42*", false),
        ("/nothing", "null", false),
        ("/list", "a", true),
        ("/list", "42", true),
        ("/list/0", "a", true),
        ("/list/0", "42", false),
        ("/https:~1~1app~1roles", "admin", true),
        ("/https://app/roles", "admin", false),
        ("/a~0b", "x", true),
        ("/org/id", "7", true),
        ("/org/list/0/id", "7", true),
        ("/org", "7", false),
        ("/missing", "7", false),
        ("repository_id", "42", false),
    ] {
        let condition = Condition::Claim(pointer.to_owned(), patterns(&[pattern]));
        assert_eq!(admits(condition, claims.clone()), holds, "{pointer} like {pattern}");
    }
}

#[test]
fn a_subject_is_matched_as_a_whole() {
    for (pattern, holds) in [
        ("repo:acme/app", true),
        ("repo:acme/*", true),
        ("repo:acme", false),
        ("acme/app", false),
        ("REPO:acme/app", false),
    ] {
        assert_eq!(admits(Condition::Subject(patterns(&[pattern])), json!({})), holds, "{pattern}");
    }
}

#[test]
fn only_a_list_of_texts_is_a_list_of_groups() {
    for (groups, holds) in [
        (json!(["eng"]), true),
        (json!(["sales", "eng"]), true),
        (json!([]), false),
        (json!("eng"), false),
        (json!(["eng", 1]), false),
        (json!({"eng": true}), false),
        (json!(["Eng"]), false),
    ] {
        let claims = json!({ "groups": groups });
        assert_eq!(admits(Condition::Groups(patterns(&["eng"])), claims.clone()), holds, "{claims}");
    }
}

#[test]
fn a_rule_is_about_its_own_issuer_only() {
    let rule = Rule {
        name: "a".into(),
        issuer: "another".into(),
        conditions: vec![Condition::Subject(patterns(&["repo*"]))],
        effect: Effect::Deny,
    };
    assert!(rule.is_about(&identity(json!({}))) == Holds::No);
}
