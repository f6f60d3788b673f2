//! What holds for all policies, identities and requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::audit::MemorySink;
use portunus_auth_core::{Allow, BearerToken, Grant, Pattern, TierName};
use portunus_keyserver::{
    Config, Explanation, GrantConfig, Holds, KeyServer, MatchConfig, Offer, OneOrMany, Peer, Policies,
    PolicyConfig, Question, Ruling, TokenKind, TokenRequest, Ttl,
};
use portunus_mock::{Algorithm, MockIdp};
use portunus_store::Memory;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::{clock, configuration, idp, server};

/// What policies look at: each claim absent, or one of a few values, odd ones among them.
fn claims() -> impl Strategy<Value = Map<String, Value>> {
    let one_of = |values: Value| {
        let Value::Array(values) = values else { panic!() };
        prop::option::of(prop::sample::select(values))
    };
    let groups = one_of(json!([["a"], ["b"], ["a", "b"], [], null, "a", ["a", 1], {}]));
    let org = one_of(json!(["a", "b", "ab", "", 1, true, null, ["b", {}], {"a": "b"}, 1.5]));
    let email = one_of(json!(["a@x.example", "A@X.example", "b@y.example", "a@y@x.example", "", 1, null]));
    let verified = one_of(json!([true, true, false, "true", null]));
    let elsewhere = one_of(json!([{"groups": "s"}, {"org": "s"}, true]));
    let rare = (0..8_u8).prop_map(|n| n == 0);
    ("(a|b|ab)", groups, org, email, verified, elsewhere, rare).prop_map(
        |(sub, groups, org, email, verified, elsewhere, is_elsewhere)| {
            let elsewhere = elsewhere.filter(|_| is_elsewhere);
            let all = [
                ("sub", Some(Value::from(sub))),
                ("groups", groups),
                ("org", org),
                ("email", email),
                ("email_verified", verified),
                ("_claim_names", elsewhere),
            ];
            all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
        },
    )
}

fn patterns() -> impl Strategy<Value = OneOrMany<Pattern>> {
    let pattern = prop::sample::select(vec!["a", "b", "a*", "*b"]);
    prop::collection::vec(pattern, 1..3)
        .prop_map(|texts| OneOrMany(texts.into_iter().map(|text| Pattern::new(text).unwrap()).collect()))
}

fn matches() -> impl Strategy<Value = MatchConfig> {
    use prop::option::weighted;
    let some = || weighted(0.3, patterns());
    let address = || weighted(0.2, Just(OneOrMany(vec!["a@x.example".to_owned()])));
    let domain = weighted(0.2, Just(OneOrMany(vec!["x.example".to_owned()])));
    (some(), some(), some(), address(), domain, any::<bool>())
        .prop_map(|(subject, groups, org, email, email_domain, ignore_case)| {
            let mut about = MatchConfig::new("idp");
            about.email_ignore_case = ignore_case && email.is_some();
            (about.subject, about.groups, about.email, about.email_domain) =
                (subject, groups, email, email_domain);
            about.claims = org.map(|org| BTreeMap::from([("/org".to_owned(), org)]));
            about
        })
        .prop_filter("says whom it is about", |about| {
            about.subject.is_some()
                || about.groups.is_some()
                || about.claims.is_some()
                || about.email.is_some()
                || about.email_domain.is_some()
        })
}

fn allow() -> impl Strategy<Value = Allow<Pattern>> {
    let set = prop::collection::vec("[ab*]{1,2}", 0..3);
    let set = set.prop_map(|texts| Allow::only(texts.iter().map(|text| Pattern::new(text).unwrap())));
    prop_oneof![1 => Just(Allow::All), 4 => set]
}

fn grants() -> impl Strategy<Value = GrantConfig> {
    (allow(), allow(), allow(), prop_oneof![9 => Just("t"), 1 => Just("u")], 1..7200_u64)
        .prop_map(|(models, tools, upstreams, tier, ttl)| {
            let ttl = Ttl::try_from(Duration::from_secs(ttl)).unwrap();
            let mut grant = GrantConfig::new(TierName::new(tier).unwrap(), ttl);
            (grant.models, grant.tools, grant.upstreams) = (models, tools, upstreams);
            grant
        })
        .prop_filter("grants something", |grant| {
            !(grant.upstreams.is_nothing() || grant.models.is_nothing() && grant.tools.is_nothing())
        })
}

fn policies() -> impl Strategy<Value = Vec<PolicyConfig>> {
    let one = (matches(), prop_oneof![1 => Just(None), 4 => grants().prop_map(Some)]);
    prop::collection::vec(one, 1..5).prop_map(|all| {
        let name = |n: usize| format!("p{n}");
        let policy = |(n, (about, grant))| match grant {
            Some(grant) => PolicyConfig::grant(name(n), about, grant),
            None => PolicyConfig::deny(name(n), about),
        };
        all.into_iter().enumerate().map(policy).collect()
    })
}

fn named() -> impl Strategy<Value = Option<String>> {
    prop::option::weighted(0.3, "p[0-4]")
}

fn config(policies: &[PolicyConfig]) -> Config {
    let mut config = configuration("https://idp.example", "");
    config.policies = policies.to_vec();
    config
}

fn explain(policies: &[PolicyConfig], claims: &Map<String, Value>, named: Option<&str>) -> Explanation {
    let mut question = Question::new(claims.clone());
    question.issuer = Some("idp".to_owned());
    question.policy = named.map(str::to_owned);
    Policies::new(&config(policies)).unwrap().explain(&question).unwrap()
}

/// Whether each policy is about them, in the order of the policies.
fn holds(explanation: &Explanation, policies: &[PolicyConfig]) -> Vec<Holds> {
    let of = |policy: &PolicyConfig| {
        let other = explanation.others.iter().find(|other| *other.policy == *policy.name);
        other.map_or_else(
            || {
                explanation.why.iter().fold(Holds::Yes, |so_far, looked| {
                    match (so_far, looked.finding.holds()) {
                        (Holds::No, _) | (_, Holds::No) => Holds::No,
                        (Holds::CannotTell, _) | (_, Holds::CannotTell) => Holds::CannotTell,
                        _ => Holds::Yes,
                    }
                })
            },
            |other| other.holds,
        )
    };
    policies.iter().map(of).collect()
}

/// The plain rule, where everything can be told: who is denied gets nothing, else the first that is about
/// them decides.
fn plainly<'p>(policies: &'p [PolicyConfig], is_about: &[bool]) -> Option<&'p GrantConfig> {
    let about = || policies.iter().zip(is_about).filter(|(_, is)| **is).map(|(policy, _)| policy);
    if about().any(|policy| policy.grant.is_none()) {
        return None;
    }
    about().find_map(|policy| policy.grant.as_ref())
}

/// Everything that could turn out to be so.
fn worlds(holds: &[Holds]) -> Vec<Vec<bool>> {
    holds.iter().fold(vec![Vec::new()], |worlds, holds| {
        let answers: &[bool] = match holds {
            Holds::Yes => &[true],
            Holds::No => &[false],
            Holds::CannotTell => &[true, false],
        };
        let with = |world: &Vec<bool>, answer: bool| [world.as_slice(), &[answer]].concat();
        worlds.iter().flat_map(|world| answers.iter().map(move |answer| with(world, *answer))).collect()
    })
}

/// No set of the offer admits what the grant does not.
fn lies_within(offer: &Offer, grant: &GrantConfig) -> bool {
    grant.models.covers(&offer.models)
        && grant.tools.covers(&offer.tools)
        && grant.upstreams.covers(&offer.upstreams)
        && grant.roles.covers(&offer.roles)
        && grant.tier == offer.tier
        && offer.ttl <= grant.ttl.get().as_secs().min(3600)
}

fn is_within(offer: &Offer, other: &Offer) -> bool {
    other.models.covers(&offer.models)
        && other.tools.covers(&offer.tools)
        && other.upstreams.covers(&offer.upstreams)
        && other.roles.covers(&offer.roles)
        && other.tier == offer.tier
        && offer.ttl <= other.ttl
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_granted_would_be_granted_however_the_unknown_turns_out(
        policies in policies(), claims in claims(), named in named(),
    ) {
        let got = explain(&policies, &claims, named.as_deref());
        let worlds = worlds(&holds(&got, &policies));
        match &got.grant {
            Some(offer) => {
                prop_assert_eq!(got.ruling, Ruling::Granted);
                for world in worlds {
                    let plain = plainly(&policies, &world);
                    prop_assert!(plain.is_some_and(|plain| lies_within(offer, plain)), "{world:?}");
                }
                let decisive = policies.iter().find(|policy| Some(&*policy.name) == got.policy.as_deref());
                prop_assert!(lies_within(offer, decisive.and_then(|policy| policy.grant.as_ref()).unwrap()));
                prop_assert!(named.is_none_or(|named| got.policy.as_deref() == Some(&named)));
            }
            // Where everything can be told and no policy is named, nothing but the plain rule refuses.
            None if named.is_none() && worlds.len() == 1 => {
                prop_assert!(plainly(&policies, &worlds[0]).is_none());
            }
            None => {}
        }
    }

    #[test]
    fn who_is_denied_gets_nothing_wherever_the_rule_stands(
        policies in policies(), claims in claims(), named in named(), denies in matches(), place in 0..6_usize,
    ) {
        let mut with = policies.clone();
        with.insert(place.min(policies.len()), PolicyConfig::deny("deny", denies));
        let got = explain(&with, &claims, named.as_deref());
        let is_about = holds(&got, &with)[place.min(policies.len())];
        if is_about == Holds::No {
            let without = explain(&policies, &claims, named.as_deref());
            prop_assert_eq!((got.ruling, got.grant, got.policy), (without.ruling, without.grant, without.policy));
        } else {
            prop_assert_eq!((got.ruling, got.grant), (Ruling::Denied, None));
        }
    }

    #[test]
    fn naming_a_policy_never_widens(policies in policies(), claims in claims(), named in "p[0-4]") {
        let (freely, named) = (explain(&policies, &claims, None), explain(&policies, &claims, Some(&named)));
        if let Some(offer) = named.grant {
            prop_assert!(freely.grant.is_some_and(|free| is_within(&offer, &free)));
        }
    }

    /// A claim that is empty, or nothing that could be compared, is worth no more than none. A list of groups
    /// or roles, if only an empty one, is the issuer's word that there are no others.
    #[test]
    fn an_empty_claim_widens_nothing(
        policies in policies(), claims in claims(), named in named(),
        name in prop::sample::select(vec!["groups", "org", "email", "email_verified", "roles", "unknown"]),
        empty in prop::sample::select(vec![
            json!(null), json!(""), json!([]), json!({}), json!([null]), json!([""]), json!([[]]), json!(0),
            json!(false),
        ]),
    ) {
        prop_assume!(!(matches!(name, "groups" | "roles") && [json!([]), json!([""])].contains(&empty)));
        let mut without = claims;
        // Whoever says both that a claim is elsewhere and that it is empty contradicts themselves.
        without.remove("_claim_names");
        without.remove(name);
        let mut with = without.clone();
        with.insert(name.to_owned(), empty);
        if let Some(offer) = explain(&policies, &with, named.as_deref()).grant {
            let other = explain(&policies, &without, named.as_deref()).grant;
            prop_assert!(other.is_some_and(|other| is_within(&offer, &other)), "{offer:?}");
        }
    }

    #[test]
    fn what_no_policy_looks_at_changes_nothing(
        policies in policies(), claims in claims(), named in named(), name in "[a-z]{1,12}", value in "[ab]{0,2}",
    ) {
        let seen = ["groups", "org", "email", "sub", "iss", "hasgroups"];
        prop_assume!(!seen.contains(&name.as_str()));
        let mut more = claims.clone();
        more.entry(name).or_insert(value.into());
        prop_assert_eq!(explain(&policies, &claims, named.as_deref()), explain(&policies, &more, named.as_deref()));
    }
}

/// A server with these policies, and its identity provider.
async fn serve(policies: &[PolicyConfig]) -> (KeyServer, MockIdp) {
    let clock = clock();
    let idp = idp(&clock);
    let mut config = configuration(idp.issuer(), "");
    config.policies = policies.to_vec();
    let store = Arc::new(Memory::new(clock.clone()));
    (server(config, store, &clock, &Arc::new(MemorySink::default())).await.unwrap(), idp)
}

fn token(idp: &MockIdp, claims: &Map<String, Value>) -> BearerToken {
    let subject = claims["sub"].as_str().unwrap();
    let mint = idp.mint(subject).audience("portunus").algorithm(Algorithm::EdDsa);
    let others = claims.iter().filter(|(name, _)| *name != "sub");
    BearerToken::new(others.fold(mint, |mint, (name, value)| mint.claim(name, value.clone())).id_token())
}

fn is_what_was_offered(grant: &Grant, offer: &Offer) -> bool {
    (&grant.models, &grant.tools, &grant.upstreams, &grant.roles, &grant.tier)
        == (&offer.models, &offer.tools, &offer.upstreams, &offer.roles, &offer.tier)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn an_explanation_is_what_an_exchange_does(
        policies in policies(), claims in claims(), named in named(),
    ) {
        crate::properties::runtime().block_on(async {
            let (server, idp) = serve(&policies).await;
            let token = token(&idp, &claims);
            let mut question = Question::from_unverified(&token).unwrap();
            question.policy = named.clone();
            let told = server.explain(&question).unwrap();
            assert_eq!(server.explain_token(&token, named.as_deref()).await.unwrap(), told);
            if named.is_none() {
                let direct = server.verify(&token).await;
                assert_eq!(direct.is_ok(), told.grant.is_some());
                assert!(direct.is_ok_and(|p| is_what_was_offered(p.grant(), told.grant.as_ref().unwrap())) || told.grant.is_none());
            }
            let mut request = TokenRequest::new(token, TokenKind::Identity);
            request.policy = named;
            match (server.exchange(request, Peer::default()).await, told.grant) {
                (Ok(key), Some(offer)) => {
                    assert!(is_what_was_offered(&key.grant, &offer));
                    assert_eq!((key.scope, key.expires_in.as_secs()), (offer.scope, offer.ttl));
                }
                (Err(_), None) => {}
                (done, told) => panic!("{done:?}, but {told:?} was told"),
            }
        });
    }

    #[test]
    fn after_a_reload_no_key_has_more_than_its_owner_would_get(
        policies in policies(), later in policies(), claims in claims(),
    ) {
        crate::properties::runtime().block_on(async {
            let (server, idp) = serve(&policies).await;
            let token = token(&idp, &claims);
            let question = Question::from_unverified(&token).unwrap();
            let request = TokenRequest::new(token, TokenKind::Identity);
            let Ok(key) = server.exchange(request, Peer::default()).await else { return };
            let revoked = server.reload_policies(&later).await.unwrap();
            let live = server.find(&key.access_token);
            assert_eq!(revoked, usize::from(live.is_err()));
            if let Ok(principal) = live {
                let offer = server.explain(&question).unwrap().grant.unwrap();
                let grant = principal.grant();
                assert!(offer.models.covers(&grant.models) && offer.tools.covers(&grant.tools));
                assert!(offer.upstreams.covers(&grant.upstreams) && offer.roles.covers(&grant.roles));
                assert!(offer.tier == grant.tier && offer.ttl >= key.expires_in.as_secs());
            }
        });
    }
}
