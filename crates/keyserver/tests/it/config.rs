//! What a configuration may not say, and where it is said to be wrong.

use std::sync::Arc;

use std::time::Duration;

use portunus_auth_core::audit::MemorySink;
use portunus_auth_core::{Allow, Pattern, TenantId, TierName};
use portunus_keyserver::{
    AdminConfig, Config, Explanation, GrantConfig, IssuerConfig, KeyServerConfig, MatchConfig, OneOrMany,
    Policies, PolicyConfig, Question, SetupError, Ttl,
};
use portunus_store::Memory;
use serde_json::json;

use crate::support::{ADMIN, ENGINEERS, Secrets, World, clock, exchange_of, server};

/// A sound configuration, to be changed in one place.
const SOUND: &str = r#"
[key_server]
audience = "portunus"
token_ttl = "1h"
admin = { bearer_token = "${env:ADMIN}" }
pepper = "${env:PEPPER}"

[[issuers]]
name = "idp"
issuer = "https://idp.example"
tenant = "acme"
algorithms = ["RS256", "EdDSA"]
audience = ["portunus", "portunus-ci"]
authorized_parties = "ci"
max_token_age = "1h"
leeway = "1m"

[[policies]]
name = "engineers"
match = { issuer = "idp", subject = "user-*", groups = ["eng"], claims = { "/org/id" = "7" }, email_domain = "corp.example" }
grant = { models = "all", tools = ["a"], roles = ["admin"], tier = "standard", ttl = "8h" }

[[policies]]
name = "leavers"
match = { issuer = "idp", groups = "leaving" }
effect = "deny"
"#;

/// Where it is wrong; `None` when it cannot even be read.
async fn problems(text: &str) -> Option<Vec<String>> {
    let config: Config = toml::from_str(text).ok()?;
    let clock = clock();
    let store = Arc::new(Memory::new(clock.clone()));
    match server(config, store, &clock, &Arc::new(MemorySink::default())).await {
        Ok(_) => Some(Vec::new()),
        Err(SetupError::Config(problems)) => {
            assert!(problems.iter().all(|problem| !problem.says.is_empty()));
            Some(problems.into_iter().map(|problem| problem.at).collect())
        }
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_sound_configuration_is_taken() {
    assert_eq!(problems(SOUND).await.unwrap(), Vec::<String>::new());
    let smallest = "[key_server]\naudience = \"portunus\"\n";
    assert_eq!(problems(smallest).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_meant_is_an_error_in_its_place() {
    for (from, to, at) in [
        ("audience = \"portunus\"", "audience = \"\"", "key_server.audience"),
        ("audience = \"portunus\"", "audience = \"a b\"", "key_server.audience"),
        ("token_ttl", "enabled = false\ntoken_ttl", "key_server.enabled"),
        ("token_ttl", "max_keys_per_identity = 10001\ntoken_ttl", "key_server.max_keys_per_identity"),
        ("${env:ADMIN}", "${env:NONE}", "key_server.admin.bearer_token"),
        ("${env:ADMIN}", "${env:SHORT}", "key_server.admin.bearer_token"),
        // No `Authorization` field can carry it.
        ("${env:ADMIN}", "${env:SPACED}", "key_server.admin.bearer_token"),
        ("${env:PEPPER}", "${env:SHORT}", "key_server.pepper"),
        ("name = \"idp\"", "name = \"\"", "issuers.0.name"),
        ("name = \"idp\"", "name = \"static\"", "issuers.0.name"),
        ("https://idp.example", "http://idp.example", "issuers.0.issuer"),
        ("https://idp.example", "idp.example", "issuers.0.issuer"),
        ("tenant", "jwks_uri = \"http://idp.example/keys\"\ntenant", "issuers.0.jwks_uri"),
        ("[\"RS256\", \"EdDSA\"]", "[]", "issuers.0.algorithms"),
        ("[\"portunus\", \"portunus-ci\"]", "[]", "issuers.0.audience"),
        ("[\"portunus\", \"portunus-ci\"]", "\"\"", "issuers.0.audience"),
        ("leeway = \"1m\"", "leeway = \"6m\"", "issuers.0.leeway"),
        ("name = \"engineers\"", "name = \"a b\"", "policies.0.name"),
        ("name = \"leavers\"", "name = \"engineers\"", "policies.1.name"),
        ("issuer = \"idp\", subject", "issuer = \"other\", subject", "policies.0.match.issuer"),
        ("\"user-*\"", "\"*\"", "policies.0.match.subject"),
        ("\"user-*\"", "[\"a\", \"**\"]", "policies.0.match.subject"),
        ("groups = [\"eng\"]", "groups = []", "policies.0.match.groups"),
        ("\"/org/id\" = \"7\"", "\"org\" = \"7\"", "policies.0.match.claims"),
        ("\"/org/id\" = \"7\"", "\"/org\" = []", "policies.0.match.claims./org"),
        ("\"corp.example\"", "[]", "policies.0.match.email_domain"),
        ("\"corp.example\"", "\"a@corp.example\"", "policies.0.match.email_domain"),
        (", groups = \"leaving\"", "", "policies.1.match"),
        ("effect = \"deny\"", "", "policies.1.grant"),
        (
            "effect = \"deny\"",
            "effect = \"deny\"\ngrant = { models = \"all\", tier = \"t\", ttl = \"1h\" }",
            "policies.1.grant",
        ),
        ("models = \"all\", tools = [\"a\"], roles = [\"admin\"]", "models = []", "policies.0.grant"),
    ] {
        let changed = SOUND.replacen(from, to, 1);
        assert_ne!(changed, SOUND, "{from}");
        // What follows from the first problem may be reported too.
        assert_eq!(problems(&changed).await.unwrap()[0], at, "{from} -> {to}");
    }
    let twice =
        format!("{SOUND}\n[[issuers]]\nname = \"other\"\nissuer = \"https://idp.example\"\ntenant = \"b\"\n");
    assert_eq!(problems(&twice).await.unwrap(), ["issuers.1.issuer"]);
    let twice =
        format!("{SOUND}\n[[issuers]]\nname = \"idp\"\nissuer = \"https://b.example\"\ntenant = \"b\"\n");
    assert_eq!(problems(&twice).await.unwrap(), ["issuers.1.name"]);
    let everywhere =
        SOUND.replace("audience = \"portunus\"", "audience = \"\"").replace("8h\"", "8h\"\nx = 1");
    assert_eq!(problems(&everywhere).await, None);
}

#[tokio::test]
async fn what_is_misspelled_is_an_error() {
    for (from, to) in [
        ("token_ttl", "token_tll"),
        ("tenant =", "tenent ="),
        ("subject =", "subjects ="),
        ("tools =", "tool ="),
        ("effect = \"deny\"", "effect = \"allow\""),
        ("\"RS256\"", "\"HS256\""),
        ("\"RS256\"", "\"none\""),
        ("\"RS256\"", "\"rs256\""),
        ("tier = \"standard\", ", ""),
        (", ttl = \"8h\"", ""),
        ("\"8h\"", "\"0s\""),
        ("\"8h\"", "\"8\""),
        ("\"8h\"", "\"1500ms\""),
        ("\"8h\"", "\"100y\""),
        ("\"8h\"", "3600"),
        ("\"user-*\"", "\"\""),
        ("\"user-*\"", "7"),
        ("models = \"all\"", "models = \"gpt\""),
        ("models = \"all\"", "models = \"*\""),
        ("${env:ADMIN}", "canary-literal"),
        ("tenant = \"acme\"", "tenant = \"acme\"\npreset = \"keycloak\""),
    ] {
        let changed = SOUND.replacen(from, to, 1);
        assert_ne!(changed, SOUND, "{from}");
        assert_eq!(problems(&changed).await, None, "{from} -> {to}");
    }
}

/// Every place in a configuration, as the way to it.
fn places(value: &toml::Value, at: &str) -> Vec<String> {
    let below = |(name, value): (String, &toml::Value)| {
        let at = if at.is_empty() { name } else { format!("{at}\n{name}") };
        [vec![at.clone()], places(value, &at)].concat()
    };
    match value {
        toml::Value::Table(table) => {
            table.iter().map(|(name, value)| (name.clone(), value)).flat_map(below).collect()
        }
        toml::Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(place, value)| (place.to_string(), value))
            .flat_map(below)
            .collect(),
        _ => Vec::new(),
    }
}

fn at<'v>(value: &'v mut toml::Value, place: &str) -> &'v mut toml::Value {
    place.split('\n').fold(value, |value, name| match value {
        toml::Value::Table(table) => table.get_mut(name).unwrap(),
        toml::Value::Array(items) => &mut items[name.parse::<usize>().unwrap()],
        other => other,
    })
}

/// What somebody gets about whom the first policy of [`SOUND`] is; `None` where that is no configuration.
fn offer(config: &toml::Value) -> Option<Explanation> {
    let config: Config = config.clone().try_into().ok()?;
    if !config.problems(&Secrets).is_empty() {
        return None;
    }
    let claims = json!({"sub": "user-1", "groups": ["eng"], "org": {"id": "7"}, "email": "a@corp.example", "email_verified": true});
    let mut question = Question::new(claims.as_object().unwrap().clone());
    question.issuer = Some("idp".to_owned());
    Some(Policies::new(&config).unwrap().explain(&question).unwrap())
}

/// Whatever is made empty anywhere, or added without being known, is an error or grants no more.
#[test]
fn nothing_empty_or_unknown_in_a_configuration_widens_anything() {
    let sound: toml::Value = toml::from_str(SOUND).unwrap();
    let usual = offer(&sound).unwrap().grant.unwrap();
    let (mut changed, mut accepted) = (0, Vec::new());
    let all = places(&sound, "");
    for place in &all {
        let here = at(&mut sound.clone(), place).clone();
        let mut emptied: Vec<toml::Value> =
            vec!["".into(), toml::Value::Array(Vec::new()), toml::Table::new().into()];
        match here {
            toml::Value::Table(mut table) => {
                table.insert("unknown".to_owned(), "x".into());
                emptied.push(table.into());
            }
            toml::Value::Array(mut items) => {
                items.push("".into());
                emptied.push(items.into());
            }
            _ => {}
        }
        for value in emptied {
            let mut config = sound.clone();
            *at(&mut config, place) = value.clone();
            changed += 1;
            let Some(got) = offer(&config) else { continue };
            accepted.push(format!("{} = {value}", place.replace('\n', ".")));
            if let Some(got) = got.grant {
                assert!(usual.models.covers(&got.models) && usual.tools.covers(&got.tools), "{place}");
                assert!(usual.roles.covers(&got.roles) && usual.upstreams.covers(&got.upstreams), "{place}");
                assert!(usual.tier == got.tier && got.ttl <= usual.ttl, "{place}");
            }
        }
    }
    assert!(changed > 100, "{changed}");
    // These grant less. Everything else is an error.
    accepted.sort();
    let grants = ["models", "roles", "tools"].map(|name| format!("policies.0.grant.{name} = []"));
    assert_eq!(accepted, [&["policies = []".to_owned()], grants.as_slice()].concat());
}

#[tokio::test]
async fn a_server_can_be_configured_in_code() {
    let world = World::new(ENGINEERS).await;
    let mut key_server = KeyServerConfig::new("portunus");
    key_server.token_ttl = Duration::from_secs(600).try_into().unwrap();
    key_server.admin = Some(AdminConfig::new("${env:ADMIN}".parse().unwrap()));
    let mut config = Config::new(key_server);
    config.issuers.push(IssuerConfig::new("idp", world.idp.issuer(), TenantId::new("acme").unwrap()));
    let about = |group: &str| {
        let mut about = MatchConfig::new("idp");
        about.groups = Some(OneOrMany(vec![Pattern::new(group).unwrap()]));
        about
    };
    let ttl = Ttl::try_from(Duration::from_secs(3600)).unwrap();
    let mut grant = GrantConfig::new(TierName::new("standard").unwrap(), ttl);
    grant.models = Allow::only([Pattern::new("gpt-4o*").unwrap()]);
    config.policies.push(PolicyConfig::deny("leavers", about("leaving")));
    config.policies.push(PolicyConfig::grant("engineers", about("eng"), grant));

    let server = server(config, world.store.clone(), &world.clock, &world.audit).await.unwrap();
    let world = World { server, ..world };
    let key = world.key("alice").await;
    assert_eq!((key.scope.as_str(), key.expires_in.as_secs()), ("model:gpt-4o*", 600));
    let leaver = world.engineer("bob").claim("groups", vec!["eng", "leaving"]).id_token();
    assert_eq!(world.form(&exchange_of(&leaver)).await.status, 400);
    assert_eq!(world.delete(&key.key_id.to_string(), &format!("Bearer {ADMIN}")).await.status, 204);
}

#[test]
fn a_span_is_of_whole_seconds_up_to_a_year() {
    let year = Duration::from_secs(366 * 86_400);
    for good in [Duration::from_secs(1), year] {
        assert_eq!(Ttl::try_from(good).unwrap().get(), good);
    }
    for bad in [
        Duration::ZERO,
        Duration::from_millis(999),
        Duration::from_millis(1500),
        year + Duration::from_secs(1),
        Duration::MAX,
    ] {
        assert!(Ttl::try_from(bad).is_err(), "{bad:?}");
    }
}
