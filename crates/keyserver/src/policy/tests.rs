use portunus_auth_core::{PrincipalId, TenantId};
use serde_json::{Value, json};

use super::*;
use crate::config::Config;

const GRANT: &str = "grant = { models = \"all\", tier = \"t\", ttl = \"1m\" }";

/// Policies for one issuer named `idp`.
fn policies(more: &str) -> Policies {
    let text = format!(
        "[key_server]\naudience = \"portunus\"\n[[issuers]]\nname = \"idp\"\nissuer = \"https://idp.example\"\n\
         tenant = \"acme\"\n{more}"
    );
    Policies::new(&toml::from_str::<Config>(&text).unwrap()).unwrap()
}

fn one(matches: &str) -> Policies {
    policies(&format!("[[policies]]\nname = \"a\"\nmatch = {{ issuer = \"idp\", {matches} }}\n{GRANT}"))
}

fn denying(matches: &str) -> Policies {
    policies(&format!(
        "[[policies]]\nname = \"a\"\nmatch = {{ issuer = \"idp\", {matches} }}\neffect = \"deny\"\n\
         [[policies]]\nname = \"b\"\nmatch = {{ issuer = \"idp\", subject = \"repo*\" }}\n{GRANT}"
    ))
}

fn admits(policies: &Policies, claims: &Value) -> bool {
    let id = PrincipalId {
        tenant: TenantId::new("acme").unwrap(),
        issuer: "idp".into(),
        subject: "repo:acme/app".into(),
    };
    let asked = Asked { id: &id, claims: claims.as_object().unwrap(), kept: None };
    policies.decide(&asked, None, None, SystemTime::UNIX_EPOCH).is_some()
}

/// `true`: granted. `false` and `None`: not. `None`: nor when asked by a policy that denies, because it
/// cannot be told.
fn check(matches: &str, claims: &Value, holds: Option<bool>) {
    assert_eq!(admits(&one(matches), claims), holds == Some(true), "{matches} of {claims}");
    assert_eq!(admits(&denying(matches), claims), holds == Some(false), "denying {matches} of {claims}");
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
        "mixed": [{"id": "7"}, "a"],
        "empty": [],
        "https://app/roles": ["admin"],
        "a~b": "x",
        "org": {"id": "7", "list": [{"id": "7"}]},
        "_claim_names": {"elsewhere": "src1"},
    });
    for (pointer, pattern, holds) in [
        ("/repository_id", "42", Some(true)),
        ("/repository_id", "4", Some(false)),
        ("/repository_id", "4*", Some(true)),
        ("/number", "42", Some(true)),
        ("/flag", "true", Some(true)),
        ("/flag", "false", Some(false)),
        ("/float", "42*", None),
        ("/nothing", "null", Some(false)),
        ("/list", "a", Some(true)),
        ("/list", "42", Some(true)),
        ("/list", "b", Some(false)),
        ("/mixed", "a", Some(true)),
        ("/mixed", "b", None),
        ("/empty", "a", Some(false)),
        ("/list/0", "a", Some(true)),
        ("/list/0", "42", Some(false)),
        ("/https:~1~1app~1roles", "admin", Some(true)),
        ("/https:/app/roles", "admin", Some(false)),
        ("/a~0b", "x", Some(true)),
        ("/org/id", "7", Some(true)),
        ("/org/list/0/id", "7", Some(true)),
        ("/org", "7", None),
        ("/missing", "7", Some(false)),
        ("/elsewhere", "7", None),
        ("/REPOSITORY_ID", "42", Some(false)),
    ] {
        check(&format!("claims = {{ \"{pointer}\" = \"{pattern}\" }}"), &claims, holds);
    }
}

#[test]
fn a_subject_is_matched_as_a_whole() {
    for (pattern, holds) in [
        ("repo:acme/app", true),
        ("repo:acme/*", true),
        ("*/app", true),
        ("repo:acme", false),
        ("acme/app", false),
        ("REPO:acme/app", false),
        ("repo:acme|x", false),
        (".*", false),
        ("repo?acme/app", false),
    ] {
        check(&format!("subject = \"{pattern}\""), &json!({}), Some(holds));
    }
}

#[test]
fn only_a_list_of_texts_is_a_list_of_groups_or_roles() {
    for (there, holds) in [
        (json!(["eng"]), Some(true)),
        (json!(["sales", "eng"]), Some(true)),
        (json!([]), Some(false)),
        (json!(null), None),
        (json!(["Eng"]), Some(false)),
        (json!("eng"), None),
        (json!("sales,eng"), None),
        (json!(["eng", 1]), None),
        (json!({"eng": true}), None),
        (json!(vec!["eng"; 2001]), None),
    ] {
        check("groups = \"eng\"", &json!({ "groups": there }), holds);
        check("roles = \"eng\"", &json!({ "roles": there }), holds);
    }
    for elsewhere in [json!({"_claim_names": {"groups": "src1"}}), json!({"hasgroups": true})] {
        check("groups = \"eng\"", &elsewhere, None);
    }
    check("roles = \"eng\"", &json!({"_claim_names": {"roles": "src1"}}), None);
    check("roles = \"eng\"", &json!({"_claim_names": "odd"}), None);
    check("roles = \"eng\"", &json!({"_claim_names": {"groups": "src1"}}), None);
    check("roles = \"eng\"", &json!({}), None);
}

/// Whoever can have a token without the claim could escape what is denied by it.
#[test]
fn without_a_list_nobody_is_known_to_be_in_no_group_unless_the_issuer_is_known_to_say_so() {
    let denying = |issuer: &str| {
        policies(&format!(
            "{issuer}[[policies]]\nname = \"a\"\nmatch = {{ issuer = \"idp\", groups = \"eng\" }}\n\
             effect = \"deny\"\n[[policies]]\nname = \"b\"\n\
             match = {{ issuer = \"idp\", subject = \"repo*\" }}\n{GRANT}"
        ))
    };
    assert!(!admits(&denying(""), &json!({})));
    assert!(admits(&denying("absent_means_none = true\n"), &json!({})));
    assert!(!admits(&denying("absent_means_none = true\n"), &json!({"_claim_names": {"groups": "src1"}})));
    assert!(!admits(&denying("absent_means_none = true\n"), &json!({"groups": ["eng"]})));
}

#[test]
fn groups_and_roles_are_where_the_issuer_has_them() {
    let rule = |matches: &str| {
        policies(&format!(
            "groups_claim = \"/https:~1~1app~1groups\"\nroles_claim = \"/realm_access/roles\"\n[[policies]]\n\
             name = \"a\"\nmatch = {{ issuer = \"idp\", {matches} }}\n{GRANT}"
        ))
    };
    let claims = json!({
        "https://app/groups": ["eng"],
        "groups": ["fake"],
        "realm_access": {"roles": ["admin"]},
        "roles": ["fake"],
    });
    for (matches, holds) in [
        ("groups = \"eng\"", true),
        ("groups = \"fake\"", false),
        ("roles = \"admin\"", true),
        ("roles = \"fake\"", false),
    ] {
        assert_eq!(admits(&rule(matches), &claims), holds, "{matches}");
    }
}

#[test]
fn an_address_is_believed_if_it_is_verified_and_can_be_read_in_one_way_only() {
    let email = |email: Value, verified: Value| json!({ "email": email, "email_verified": verified });
    let exact = "email = \"Alice@B\u{fc}cher.example\"";
    let ignoring = "email = \"Alice@b\u{fc}cher.example\", email_ignore_case = true";
    let domain = "email_domain = \"b\u{fc}cher.example\"";
    for (address, by_address, by_any_case, by_domain) in [
        ("Alice@xn--bcher-kva.example", Some(true), Some(true), Some(true)),
        ("Alice@B\u{dc}CHER.example", Some(true), Some(true), Some(true)),
        ("alice@xn--bcher-kva.example", None, Some(true), Some(true)),
        ("bob@xn--bcher-kva.example", Some(false), Some(false), Some(true)),
        ("Alice@evil.example", Some(false), Some(false), Some(false)),
        ("Alice@b\u{fc}cher.example.evil.example", Some(false), Some(false), Some(false)),
        ("Alice@sub.b\u{fc}cher.example", Some(false), Some(false), Some(false)),
        ("Alice@evil@b\u{fc}cher.example", None, None, None),
        ("b\u{fc}cher.example", None, None, None),
        ("\"Alice@evil.example\"@b\u{fc}cher.example", None, None, None),
        ("Alice@b\u{fc}cher.example\n", None, None, None),
        ("", None, None, None),
    ] {
        let claims = email(json!(address), json!(true));
        check(exact, &claims, by_address);
        check(ignoring, &claims, by_any_case);
        check(domain, &claims, by_domain);
        for unverified in [json!(false), json!("true"), json!(1), json!(null)] {
            check(domain, &email(json!(address), unverified.clone()), None);
            check(exact, &email(json!(address), unverified), None);
        }
    }
    check(exact, &json!({ "email": "Alice@b\u{fc}cher.example" }), None);
    check(exact, &json!({ "email": ["Alice@b\u{fc}cher.example"], "email_verified": true }), None);
    check(exact, &json!({}), None);
}

#[test]
fn all_of_a_rule_must_hold() {
    let both = "groups = \"eng\", claims = { \"/org\" = \"7\" }, tenant = [\"acme\", \"other\"]";
    for (claims, holds) in [
        (json!({"groups": ["eng"], "org": "7"}), Some(true)),
        (json!({"groups": ["eng"], "org": "8"}), Some(false)),
        (json!({"groups": ["eng"]}), Some(false)),
        (json!({"groups": "eng", "org": "7"}), None),
        (json!({"groups": "eng", "org": "8"}), Some(false)),
    ] {
        check(both, &claims, holds);
    }
}

#[test]
fn a_rule_is_about_its_own_issuer_only() {
    let policies = denying("groups = \"eng\"");
    let id = PrincipalId {
        tenant: TenantId::new("acme").unwrap(),
        issuer: "another".into(),
        subject: "repo:acme/app".into(),
    };
    let claims = json!({ "groups": ["eng"] });
    let asked = Asked { id: &id, claims: claims.as_object().unwrap(), kept: None };
    assert!(policies.rules.iter().all(|rule| rule.is_about(&asked) == Holds::No));
}

#[test]
fn whoever_hides_a_claim_does_not_escape_an_early_rule() {
    let policies = policies(
        r#"
[[policies]]
name = "contractors"
match = { issuer = "idp", groups = "contractors" }
grant = { models = ["gpt-4o-mini"], tier = "t", ttl = "1m" }
[[policies]]
name = "everybody"
match = { issuer = "idp", subject = "repo*" }
grant = { models = ["gpt-4o*"], tools = "all", tier = "t", ttl = "1h" }
"#,
    );
    let models = |claims: &Value| {
        let id = PrincipalId {
            tenant: TenantId::new("acme").unwrap(),
            issuer: "idp".into(),
            subject: "repo:acme/app".into(),
        };
        let asked = Asked { id: &id, claims: claims.as_object().unwrap(), kept: None };
        let decision = policies.decide(&asked, None, None, SystemTime::UNIX_EPOCH).unwrap();
        let Grant { models, tools, .. } = decision.grant;
        (
            &*decision.policy == "everybody",
            models.admits("gpt-4o"),
            models.admits("gpt-4o-mini"),
            tools.admits("x"),
        )
    };
    assert_eq!(models(&json!({ "groups": [] })), (true, true, true, true));
    assert_eq!(models(&json!({ "groups": ["contractors"] })), (false, false, true, false));
    assert_eq!(models(&json!({ "hasgroups": true })), (true, false, true, false));
}

#[test]
fn the_version_is_that_of_the_content() {
    let (one_way, another) = (one("groups = \"eng\""), one("groups = [\"eng\"]"));
    assert_eq!(one_way.version, another.version);
    assert_ne!(one_way.version, one("groups = \"sales\"").version);
    assert_ne!(one_way.version, denying("groups = \"eng\"").version);
}
