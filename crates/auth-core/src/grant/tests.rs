use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn allow() -> impl Strategy<Value = Allow<Pattern>> {
    let pattern = "[ab*]{1,4}".prop_map(|text| Pattern::new(&text).unwrap());
    prop_oneof![
        1 => Just(Allow::All),
        4 => prop::collection::btree_set(pattern, 0..4).prop_map(Allow::only),
    ]
}

fn confirmation() -> impl Strategy<Value = Option<Confirmation>> {
    prop_oneof![
        Just(None),
        Just(Some(Confirmation::Jkt("a".into()))),
        Just(Some(Confirmation::Jkt("b".into()))),
        Just(Some(Confirmation::X5tS256("a".into()))),
    ]
}

fn tier() -> impl Strategy<Value = TierName> {
    prop_oneof![Just("standard"), Just("high")].prop_map(|name| TierName::new(name).unwrap())
}

fn grant() -> impl Strategy<Value = Grant> {
    (allow(), allow(), allow(), allow(), tier(), 0..100_u64, confirmation()).prop_map(
        |(models, tools, upstreams, roles, tier, end, confirmation)| Grant {
            models,
            tools,
            upstreams,
            roles,
            tier,
            expires_at: at(end),
            confirmation,
        },
    )
}

fn request() -> impl Strategy<Value = GrantRequest> {
    use prop::option::of;
    let end = of((0..200_u64).prop_map(at));
    (of(allow()), of(allow()), of(allow()), of(allow()), of(tier()), end, confirmation()).prop_map(
        |(models, tools, upstreams, roles, tier, expires_at, confirmation)| GrantRequest {
            models,
            tools,
            upstreams,
            roles,
            tier,
            expires_at,
            confirmation,
        },
    )
}

proptest! {
    #[test]
    fn a_child_is_never_wider_than_its_parent_nor_than_what_was_asked(
        parent in grant(), asked in request(), name in "[ab]{0,5}",
    ) {
        let Ok(child) = parent.narrow(&asked) else { return Ok(()) };
        let sets = [
            (&child.models, &parent.models, &asked.models),
            (&child.tools, &parent.tools, &asked.tools),
            (&child.upstreams, &parent.upstreams, &asked.upstreams),
            (&child.roles, &parent.roles, &asked.roles),
        ];
        for (child, parent, asked) in sets {
            if child.admits(&name) {
                prop_assert!(parent.admits(&name));
                prop_assert!(asked.as_ref().is_none_or(|asked| asked.admits(&name)));
            }
            if asked.is_some() {
                prop_assert!(!child.is_nothing());
            }
        }
        prop_assert!(child.expires_at <= parent.expires_at);
        prop_assert_eq!(&child.tier, &parent.tier);
        if parent.confirmation.is_some() {
            prop_assert_eq!(&child.confirmation, &parent.confirmation);
        }
    }

    #[test]
    fn asking_for_nothing_in_particular_gives_the_grant_itself(parent in grant()) {
        prop_assert_eq!(parent.narrow(&GrantRequest::default()).unwrap(), parent);
    }

    #[test]
    fn narrowing_twice_with_the_same_request_changes_nothing(parent in grant(), asked in request()) {
        if let Ok(child) = parent.narrow(&asked) {
            prop_assert_eq!(child.narrow(&asked).unwrap(), child);
        }
    }

    #[test]
    fn a_grant_covers_its_children_and_nothing_wider(
        parent in grant(), other in grant(), asked in request(), name in "[ab]{0,5}",
    ) {
        prop_assert!(parent.covers(&parent));
        if let Ok(child) = parent.narrow(&asked) {
            prop_assert!(parent.covers(&child));
        }
        if parent.covers(&other) {
            let sets = [
                (&parent.models, &other.models),
                (&parent.tools, &other.tools),
                (&parent.upstreams, &other.upstreams),
                (&parent.roles, &other.roles),
            ];
            for (parent, other) in sets {
                prop_assert!(!other.admits(&name) || parent.admits(&name));
            }
            prop_assert!(other.expires_at <= parent.expires_at && other.tier == parent.tier);
        }
    }

    #[test]
    fn a_grant_survives_storage(grant in grant()) {
        let stored = serde_json::to_string(&grant).unwrap();
        prop_assert_eq!(serde_json::from_str::<Grant>(&stored).unwrap(), grant);
    }
}

fn some_grant() -> Grant {
    Grant {
        models: Allow::only([Pattern::new("gpt-*").unwrap()]),
        tools: Allow::none(),
        upstreams: Allow::All,
        roles: Allow::none(),
        tier: TierName::new("standard").unwrap(),
        expires_at: at(10),
        confirmation: None,
    }
}

#[test]
fn an_empty_result_is_an_error_that_names_the_field() {
    let asked = GrantRequest {
        models: Some(Allow::only([Pattern::new("claude-*").unwrap()])),
        ..GrantRequest::default()
    };
    assert_eq!(some_grant().narrow(&asked), Err(Wider { field: "models" }));
    let asked = GrantRequest { models: Some(Allow::none()), ..GrantRequest::default() };
    assert_eq!(some_grant().narrow(&asked), Err(Wider { field: "models" }));
}

#[test]
fn an_empty_list_admits_nothing() {
    let grant = some_grant();
    let tools = [Cow::Borrowed("get_weather")];
    assert_eq!(grant.check(&Action { model: Some("gpt-4o"), tools: &[] }), Ok(()));
    assert_eq!(grant.check(&Action { model: Some("gpt-4o"), tools: &tools }), Err(Denied::Tool));
    assert_eq!(grant.check(&Action { model: Some("o1"), tools: &[] }), Err(Denied::Model));
}

#[test]
fn all_and_unlimited_must_be_written_out() {
    assert_eq!(serde_json::from_str::<Allow<Pattern>>("\"all\"").unwrap(), Allow::All);
    for bad in ["\"\"", "\"*\"", "null", "true", "[\"\"]", "{}"] {
        assert!(serde_json::from_str::<Allow<Pattern>>(bad).is_err(), "{bad}");
    }
    assert_eq!(serde_json::from_str::<Limit>("\"unlimited\"").unwrap(), Limit::Unlimited);
    for bad in ["0", "-1", "\"\"", "null", "1.5"] {
        assert!(serde_json::from_str::<Limit>(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_permit_is_good_at_the_granted_upstreams_only() {
    let upstreams = Allow::only([Pattern::new("azure-*").unwrap()]);
    let grant = Grant { upstreams, ..some_grant() };
    let id = crate::PrincipalId {
        tenant: crate::TenantId::new("acme").unwrap(),
        issuer: "idp".into(),
        subject: "alice".into(),
    };
    let caller = Arc::new(Principal::authenticated(id, grant, crate::Via::Jwt));
    let permit = caller.permit(&Action { model: Some("gpt-4o"), tools: &[] }).unwrap();
    assert_eq!(permit.at("azure-eu"), Ok(()));
    assert_eq!(permit.at("openai"), Err(Denied::Upstream));
}

#[test]
fn a_stored_grant_that_names_no_upstreams_admits_none() {
    let mut stored = serde_json::to_value(some_grant()).unwrap();
    stored.as_object_mut().unwrap().remove("upstreams");
    assert!(serde_json::from_value::<Grant>(stored).unwrap().upstreams.is_nothing());
}
