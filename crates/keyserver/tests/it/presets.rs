//! What is known of each identity provider, and that its quirks fail closed. The tokens have the claims that
//! the vendors document.

use std::time::Duration;

use portunus_auth_core::audit::EventKind;
use portunus_auth_core::{PrincipalId, Reason};
use portunus_keyserver::{Algorithm, ExchangeError, Question, TokenKind};
use portunus_mock::Mint;
use serde_json::{Value, json};

use crate::signer::Published;
use crate::support::{NOW, Secrets, World, configuration, server};

const A: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const B: &str = "11111111-2222-3333-4444-555555555555";
const OID: &str = "00000000-aaaa-bbbb-cccc-0123456789ab";

fn entries(jwks_uri: &str, settings: &str, matches: &str) -> String {
    format!(
        "[[issuers]]\nname = \"p\"\njwks_uri = \"{jwks_uri}\"\n{settings}\n[[policies]]\nname = \"some\"\n\
         match = {{ issuer = \"p\", {matches} }}\ngrant = {{ models = \"all\", tier = \"t\", ttl = \"1h\" }}\n"
    )
}

/// A world whose identity provider signs for the issuer `p` with these settings, which one policy is about.
async fn provider(settings: &str, matches: &str) -> World {
    let world = World::new("").await;
    let config = configuration(world.idp.issuer(), &entries(&world.idp.jwks_uri(), settings, matches));
    let server = server(config, world.store.clone(), &world.clock, &world.audit).await.unwrap();
    World { server, ..world }
}

/// The places of what is wrong with the settings and the policy.
fn problems(settings: &str, matches: &str) -> Vec<String> {
    let more = entries("https://keys.example/jwks", settings, matches);
    let problems = configuration("https://idp.example", &more).problems(&Secrets);
    problems.into_iter().map(|problem| problem.at).collect()
}

async fn who_by(world: &World, kind: TokenKind, mint: Mint) -> Result<PrincipalId, Reason> {
    match world.exchange_for(mint.id_token(), |request| request.kind = kind).await {
        Ok(key) => Ok(world.server.find(&key.access_token).unwrap().id().clone()),
        Err(ExchangeError::BadSubject(reason)) => Err(reason),
        Err(other) => panic!("{other:?}"),
    }
}

async fn who(world: &World, mint: Mint) -> Result<PrincipalId, Reason> {
    who_by(world, TokenKind::Identity, mint).await
}

async fn subject(world: &World, mint: Mint) -> Result<String, Reason> {
    who(world, mint).await.map(|id| id.subject.to_string())
}

mod google {
    use super::*;

    const SETTINGS: &str = "preset = \"google\"\nissuer = \"https://accounts.google.com\"\ntenant = { \"corp.example\" = \"acme\" }";

    fn user(world: &World) -> Mint {
        world
            .idp
            .mint("110169484474386276334")
            .issuer("https://accounts.google.com")
            .audience("portunus")
            .claim("email", "jane@corp.example")
            .claim("email_verified", true)
            .claim("hd", "corp.example")
    }

    #[tokio::test]
    async fn the_legacy_name_is_googles_too() {
        let world = provider(SETTINGS, "subject = \"1*\"").await;
        assert_eq!(subject(&world, user(&world)).await.unwrap(), "110169484474386276334");
        subject(&world, user(&world).issuer("accounts.google.com")).await.unwrap();
        for other in ["http://accounts.google.com", "https://accounts.google.com/", "accounts.google.com."] {
            assert_eq!(subject(&world, user(&world).issuer(other)).await, Err(Reason::UnknownIssuer));
        }
        // Of nobody else.
        let plain = SETTINGS.replace("preset = \"google\"", "tenant_claim = \"/hd\"");
        let world = provider(&plain, "subject = \"1*\"").await;
        let legacy = user(&world).issuer("accounts.google.com");
        assert_eq!(subject(&world, legacy).await, Err(Reason::UnknownIssuer));
    }

    /// Whoever is not a customer any more has no keys either.
    #[tokio::test]
    async fn the_keys_of_a_workspace_end_when_it_is_not_listed_any_more() {
        let world = provider(SETTINGS, "subject = \"1*\"").await;
        let key = world.exchange(user(&world).id_token()).await.unwrap().access_token;
        let restarted = async |settings: &str| {
            let entries = entries(&world.idp.jwks_uri(), settings, "subject = \"1*\"");
            let config = configuration(world.idp.issuer(), &entries);
            server(config, world.store.clone(), &world.clock, &world.audit).await.unwrap()
        };
        let more = SETTINGS.replace("= \"acme\"", "= \"acme\", \"other.example\" = \"globex\"");
        restarted(&more).await.find(&key).unwrap();
        let moved = SETTINGS.replace("\"acme\"", "\"globex\"");
        assert!(restarted(&moved).await.find(&key).is_err());
    }

    #[tokio::test]
    async fn the_workspace_is_told_by_hd_and_not_by_the_address() {
        let world = provider(SETTINGS, "subject = \"1*\"").await;
        assert_eq!(who(&world, user(&world)).await.unwrap().tenant.as_str(), "acme");
        for hd in
            [json!("evil.example"), json!("corp.example."), json!("CORP.example"), json!(["corp.example"])]
        {
            assert_eq!(subject(&world, user(&world).claim("hd", hd)).await, Err(Reason::NotAdmitted));
        }
        assert_eq!(subject(&world, user(&world).without("hd")).await, Err(Reason::NotAdmitted));
    }

    /// A Google account can have somebody's mailbox elsewhere as its address, long after it is another's.
    #[tokio::test]
    async fn an_address_is_believed_where_google_hosts_it() {
        let settings = SETTINGS.replace("{ \"corp.example\" = \"acme\" }", "\"acme\"");
        let world = provider(&settings, "email_domain = [\"corp.example\", \"gmail.com\"]").await;
        subject(&world, user(&world)).await.unwrap();
        subject(&world, user(&world).claim("email", "jane@gmail.com").without("hd")).await.unwrap();
        for mint in [
            user(&world).without("hd"),
            user(&world).claim("hd", "evil.example"),
            user(&world).claim("email_verified", false),
            user(&world).without("email_verified"),
        ] {
            assert_eq!(subject(&world, mint).await, Err(Reason::NoPolicy));
        }
    }

    #[test]
    fn its_tokens_have_no_groups() {
        assert_eq!(problems(SETTINGS, "groups = \"eng\""), ["policies.0.match.groups"]);
    }
}

mod okta {
    use super::*;

    const SETTINGS: &str =
        "preset = \"okta\"\nissuer = \"https://acme.okta.com/oauth2/default\"\ntenant = \"acme\"";

    fn user(world: &World, groups: usize) -> Mint {
        let groups: Vec<String> = (0..groups).map(|n| format!("group-{n}")).collect();
        let mint = world.idp.mint("00u1a2b3c4").issuer("https://acme.okta.com/oauth2/default");
        mint.audience("portunus").claim("groups", groups).claim("ver", 1).claim("amr", vec!["pwd"])
    }

    #[tokio::test]
    async fn a_hundred_groups_may_be_more_and_cannot_be_told() {
        let world = provider(SETTINGS, "groups = \"group-7\"").await;
        subject(&world, user(&world, 100)).await.unwrap();
        let denying = "subject = \"00u*\" }\ngrant = { models = \"all\", tier = \"t\", ttl = \"1h\" }\n\
                       [[policies]]\nname = \"contractors\"\neffect = \"deny\"\n\
                       match = { issuer = \"p\", groups = \"contractors\" }\n[[policies]]\nname = \"x\"\n\
                       match = { issuer = \"p\", subject = \"nobody\"";
        let world = provider(SETTINGS, denying).await;
        subject(&world, user(&world, 99)).await.unwrap();
        assert_eq!(subject(&world, user(&world, 100)).await, Err(Reason::NoPolicy));
        let world = provider(SETTINGS, "groups = \"eng\"").await;
        assert_eq!(subject(&world, user(&world, 100)).await, Err(Reason::NoPolicy));
    }

    /// Its custom servers' access tokens have no type of their own.
    #[tokio::test]
    async fn an_access_token_is_no_id_token() {
        let world = provider(SETTINGS, "groups = \"group-0\"").await;
        let access = || {
            let mint = user(&world, 1).claim("jti", "AT.abc").claim("cid", "0oa1").claim("uid", "00u1");
            mint.claim("scp", vec!["openid"])
        };
        assert_eq!(subject(&world, access()).await, Err(Reason::WrongClaims));
        who_by(&world, TokenKind::Any, access()).await.unwrap();
    }
}

mod entra {
    use super::*;

    fn v2(directory: &str) -> String {
        format!("https://login.microsoftonline.com/{directory}/v2.0")
    }

    fn v1(directory: &str) -> String {
        format!("https://sts.windows.net/{directory}/")
    }

    fn one() -> String {
        format!("preset = \"entra\"\nissuer = \"{}\"\ntenant = \"acme\"", v2(A))
    }

    fn several() -> String {
        format!(
            "preset = \"entra\"\nissuer = \"{}\"\ntenant = {{ \"{A}\" = \"acme\", \"{B}\" = \"globex\" }}",
            v2("organizations")
        )
    }

    fn user(world: &World, issuer: String, tid: &str) -> Mint {
        let version = if issuer.ends_with("v2.0") { "2.0" } else { "1.0" };
        let mint = world.idp.mint("AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ").issuer(issuer);
        let mint = mint.audience("portunus").claim("tid", tid).claim("oid", OID).claim("ver", version);
        mint.claim("preferred_username", "jane@corp.example").claim("groups", vec![B])
    }

    #[tokio::test]
    async fn a_user_is_a_directory_and_an_object_whatever_the_version() {
        let world = provider(&one(), &format!("groups = \"{B}\"")).await;
        for issuer in [v2(A), v1(A)] {
            assert_eq!(subject(&world, user(&world, issuer, A)).await.unwrap(), format!("{A}/{OID}"));
        }
        for missing in ["tid", "oid", "ver"] {
            let mint = user(&world, v2(A), A).without(missing);
            assert_eq!(subject(&world, mint).await, Err(Reason::WrongClaims), "{missing}");
        }
        let odd = user(&world, v2(A), A).claim("oid", "jane/evil");
        assert_eq!(subject(&world, odd).await, Err(Reason::WrongClaims));
    }

    /// Version 1 names the client in `appid`, version 2 in `azp`.
    #[tokio::test]
    async fn a_token_that_another_client_got_is_refused_whatever_the_version() {
        let settings = format!("{}\nauthorized_parties = \"our-cli\"", one());
        let world = provider(&settings, &format!("groups = \"{B}\"")).await;
        for (issuer, claim) in [(v1(A), "appid"), (v2(A), "azp"), (v2(A), "appid")] {
            let by = |client: &str| user(&world, issuer.clone(), A).claim(claim, client);
            subject(&world, by("our-cli")).await.unwrap();
            assert_eq!(subject(&world, by("somebodys-app")).await, Err(Reason::WrongAudience), "{claim}");
        }
    }

    #[tokio::test]
    async fn a_directory_speaks_for_its_own_users_only() {
        let world = provider(&several(), &format!("groups = \"{B}\"")).await;
        let tenant = async |issuer: String, tid: &str| {
            who(&world, user(&world, issuer, tid)).await.map(|id| id.tenant.as_str().to_owned())
        };
        assert_eq!(tenant(v2(A), A).await.unwrap(), "acme");
        assert_eq!(tenant(v1(B), B).await.unwrap(), "globex");
        for (issuer, tid) in [(v2(A), B), (v2(B), A), (v1(A), B)] {
            assert_eq!(tenant(issuer, tid).await, Err(Reason::NotAdmitted));
        }
        let (stranger, template) = ("99999999-2222-3333-4444-555555555555", "{tenantid}");
        for issuer in [v2(stranger), v2(template), v2("organizations"), v2("common"), v1(stranger)] {
            assert_eq!(tenant(issuer, stranger).await, Err(Reason::UnknownIssuer));
        }
    }

    #[tokio::test]
    async fn groups_that_were_left_out_grant_nothing_and_are_asked_of_nobody() {
        let world = provider(&one(), "groups = \"*-*\"").await;
        let overage = |mint: Mint| mint.without("groups");
        let names = json!({"groups": "src1"});
        let sources = json!({"src1": {"endpoint": format!("{}/getMemberObjects", world.idp.issuer())}});
        let by_names = overage(user(&world, v2(A), A)).claim("_claim_names", names);
        for mint in [
            by_names.claim("_claim_sources", sources),
            overage(user(&world, v2(A), A)).claim("hasgroups", true),
        ] {
            assert_eq!(subject(&world, mint).await, Err(Reason::NoPolicy));
        }
        assert_eq!(world.idp.count("/getMemberObjects"), 0);
        subject(&world, user(&world, v2(A), A)).await.unwrap();
    }

    #[test]
    fn nobody_is_told_by_what_an_administrator_can_write() {
        for claim in ["/upn", "/preferred_username", "/unique_name"] {
            let at = format!("policies.0.match.claims.{claim}");
            assert_eq!(problems(&one(), &format!("claims = {{ \"{claim}\" = \"jane@*\" }}")), [at]);
        }
        assert_eq!(problems(&one(), "email_domain = \"corp.example\""), ["policies.0.match.email"]);
        assert_eq!(
            problems(&several(), "tenant = \"initech\", subject = \"a*\""),
            ["policies.0.match.tenant"]
        );
        let open = several().replace(&format!("\"{B}\" = \"globex\""), "\"*\" = \"globex\"");
        assert_eq!(problems(&open, "subject = \"a*\""), ["issuers.1.issuer"]);
    }

    /// Its common key set has keys of single directories, which sign for no other.
    #[tokio::test]
    async fn a_directorys_own_key_signs_for_it_alone() {
        let published = Published::silent("").await;
        let issuer = format!("preset = \"entra\"\njwks_uri = \"{}/jwks.json\"", published.site.uri());
        let settings = several().replace("preset = \"entra\"", &issuer);
        let world = &published.world;
        let config = configuration(
            world.idp.issuer(),
            &format!(
                "[[issuers]]\nname = \"p\"\n{settings}\n[[policies]]\nname = \"some\"\n\
             match = {{ issuer = \"p\", subject = \"*/*\" }}\n\
             grant = {{ models = \"all\", tier = \"t\", ttl = \"1h\" }}\n"
            ),
        );
        let server = server(config, world.store.clone(), &world.clock, &world.audit).await.unwrap();
        let verified = async |directory: &str| {
            let claims = published
                .claims_but(json!({"iss": v2(directory), "tid": directory, "oid": OID, "ver": "2.0"}));
            let token = published.signer.sign("RS256", json!({}), &claims);
            server.verify(&portunus_auth_core::BearerToken::new(token)).await.is_ok()
        };
        let mut key = published.signer.jwk("RS256");
        key["issuer"] = v2(A).into();
        published.keys(&json!({"keys": [key.clone()]})).await;
        assert!(verified(A).await && !verified(B).await);
        key["issuer"] = v2("{tenantid}").into();
        published.keys(&json!({"keys": [key]})).await;
        world.pass(15 * 60);
        let claims =
            json!({"iss": v2(B), "tid": B, "oid": OID, "ver": "2.0", "iat": NOW + 900, "exp": NOW + 1500});
        let token = published.signer.sign("RS256", json!({}), &published.claims_but(claims));
        assert!(server.verify(&portunus_auth_core::BearerToken::new(token)).await.is_ok());
    }

    /// What decides is explained by the same rules, without a token.
    #[tokio::test]
    async fn an_explanation_names_the_same_user() {
        let world = provider(&several(), "subject = \"*/*\"").await;
        let Value::Object(claims) = json!({"tid": B, "oid": OID}) else { panic!() };
        let mut question = Question::new(claims);
        question.issuer = Some("p".to_owned());
        let explained = world.server.explain(&question).unwrap();
        assert_eq!(
            (explained.identity.tenant.as_str(), &*explained.identity.subject),
            ("globex", &*format!("{B}/{OID}"))
        );
        question.claims.insert("tid".to_owned(), OID.into());
        assert!(world.server.explain(&question).is_err());
    }
}

mod auth0 {
    use super::*;

    const SETTINGS: &str = "preset = \"auth0\"\nissuer = \"https://acme.auth0.com/\"\ntenant = \"acme\"";

    #[tokio::test]
    async fn the_slash_is_part_of_the_name_and_claims_have_a_namespace() {
        let settings = format!("{SETTINGS}\nroles_claim = \"/https:~1~1app.example~1roles\"");
        let world = provider(&settings, "roles = \"engineer\"").await;
        let user = || {
            let mint = world.idp.mint("auth0|507f1f77bcf86cd799439011").audience("portunus");
            mint.claim("https://app.example/roles", vec!["engineer"])
        };
        let issued_by = |issuer: &str| subject(&world, user().issuer(issuer));
        assert_eq!(issued_by("https://acme.auth0.com/").await.unwrap(), "auth0|507f1f77bcf86cd799439011");
        for other in ["https://acme.auth0.com", "https://acme.auth0.com//", "https://ACME.auth0.com/"] {
            assert_eq!(subject(&world, user().issuer(other)).await, Err(Reason::UnknownIssuer));
        }
        // A claim of the bare name is somebody else's.
        let bare = user().without("https://app.example/roles").claim("roles", vec!["engineer"]);
        assert_eq!(subject(&world, bare.issuer("https://acme.auth0.com/")).await, Err(Reason::NoPolicy));
    }

    #[test]
    fn what_it_would_drop_is_not_configured() {
        let bare = |name: &str| {
            problems(&format!("{SETTINGS}\n{name}_claim = \"/{name}\""), "subject = \"auth0|*\"")
        };
        assert_eq!(bare("groups"), ["issuers.1.groups_claim"]);
        assert_eq!(bare("roles"), ["issuers.1.roles_claim"]);
        assert_eq!(problems(SETTINGS, "roles = \"engineer\""), ["policies.0.match.roles"]);
        let dropped = "subject = \"auth0|*\", claims = { \"/roles\" = \"admin\" }";
        assert_eq!(problems(SETTINGS, dropped), ["policies.0.match.claims./roles"]);
        let without = SETTINGS.replace("auth0.com/", "auth0.com");
        assert_eq!(problems(&without, "subject = \"auth0|*\""), ["issuers.1.issuer"]);
    }
}

#[tokio::test]
async fn gitlab_puts_direct_groups_only_into_a_token() {
    let settings = "preset = \"gitlab\"\nissuer = \"https://git.example/gitlab\"\ntenant = \"acme\"";
    let world = provider(settings, "groups = \"acme/eng\"").await;
    let user = || world.idp.mint("42").issuer("https://git.example/gitlab").audience("portunus");
    subject(&world, user().claim("groups_direct", vec!["acme/eng", "acme/eng/web"])).await.unwrap();
    for mint in [
        user().claim("groups", vec!["acme/eng"]),
        user().claim("groups_direct", vec!["acme"]),
        user().claim("groups_direct", "acme/eng"),
    ] {
        assert_eq!(subject(&world, mint).await, Err(Reason::NoPolicy));
    }
}

#[test]
fn gitlabs_paths_change_hands() {
    let settings = "preset = \"gitlab\"\nissuer = \"https://gitlab.com\"\ntenant = \"acme\"";
    for by_name in [
        "subject = \"project_path:acme/deploy:*\"",
        "subject = \"*:ref:main\"",
        "claims = { \"/project_path\" = \"acme/deploy\" }",
        "claims = { \"/namespace_path\" = \"acme\", \"/ref\" = \"main\" }",
        "claims = { \"/project_path\" = \"acme/deploy\", \"/project_id\" = \"22*\" }",
    ] {
        assert_eq!(problems(settings, by_name), ["policies.0.match.claims"], "{by_name}");
    }
    for by_id in [
        "subject = \"4711\"",
        "groups = \"acme/eng\"",
        "subject = \"project_path:acme/deploy:*\", claims = { \"/project_id\" = \"22\" }",
        "claims = { \"/namespace_path\" = \"acme\", \"/namespace_id\" = \"9\" }",
    ] {
        assert_eq!(problems(settings, by_id), [""; 0], "{by_id}");
    }
}

#[tokio::test]
async fn onelogins_groups_may_be_a_text_with_semicolons() {
    let settings = "preset = \"onelogin\"\nissuer = \"https://acme.onelogin.com/oidc/2\"\ntenant = \"acme\"";
    let world = provider(settings, "groups = \"eng\"").await;
    let user = |groups: Value| {
        let mint = world.idp.mint("12345").issuer("https://acme.onelogin.com/oidc/2").audience("portunus");
        mint.claim("groups", groups)
    };
    for groups in [json!(["eng", "ops"]), json!("eng"), json!("ops;eng"), json!("a,b; eng ;")] {
        subject(&world, user(groups)).await.unwrap();
    }
    for groups in [json!("ops,eng"), json!("eng|ops"), json!("engineers"), json!(";"), json!(""), json!(7)] {
        assert_eq!(subject(&world, user(groups.clone())).await, Err(Reason::NoPolicy), "{groups}");
    }
    // Elsewhere a text is no list.
    let plain = provider(&settings.replace("onelogin\"\n", "oidc\"\n"), "groups = \"eng\"").await;
    let text = plain.idp.mint("1").issuer("https://acme.onelogin.com/oidc/2").audience("portunus");
    assert_eq!(subject(&plain, text.claim("groups", "eng")).await, Err(Reason::NoPolicy));
}

mod github_actions {
    use super::*;

    const ISSUER: &str = "https://token.actions.githubusercontent.com";
    const SETTINGS: &str = "preset = \"github-actions\"\ntenant = \"acme\"\n\
                            issuer = \"https://token.actions.githubusercontent.com\"";

    fn job(world: &World) -> Mint {
        let sub = "repo:octo-org/octo-repo:environment:prod";
        let mint = world.idp.mint(sub).issuer(ISSUER).audience("portunus").ttl(Duration::from_secs(300));
        [
            ("repository", "octo-org/octo-repo"),
            ("repository_id", "74"),
            ("repository_owner", "octo-org"),
            ("repository_owner_id", "65"),
            ("ref", "refs/heads/main"),
            ("workflow_ref", "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main"),
            ("job_workflow_ref", "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main"),
            ("environment", "prod"),
            ("runner_environment", "github-hosted"),
        ]
        .into_iter()
        .fold(mint, |mint, (name, value)| mint.claim(name, value))
    }

    #[tokio::test]
    async fn a_repository_is_its_id_and_not_its_name() {
        let matches = "claims = { \"/repository_id\" = \"74\", \"/environment\" = \"prod\" }";
        let world = provider(SETTINGS, matches).await;
        assert_eq!(subject(&world, job(&world)).await.unwrap(), "repo:octo-org/octo-repo:environment:prod");
        // Deleted, and made anew by somebody else under the same name.
        let resurrected = job(&world).claim("repository_id", "9001").claim("repository_owner_id", "9000");
        assert_eq!(subject(&world, resurrected).await, Err(Reason::NoPolicy));
        assert_eq!(subject(&world, job(&world).claim("environment", "dev")).await, Err(Reason::NoPolicy));
    }

    #[test]
    fn a_policy_that_trusts_names_alone_is_an_error() {
        for matches in [
            "subject = \"repo:octo-org/octo-repo:*\"",
            "claims = { \"/repository\" = \"octo-org/octo-repo\" }",
            "claims = { \"/repository_id\" = \"7*\" }",
        ] {
            assert_eq!(problems(SETTINGS, matches), ["policies.0.match.claims"], "{matches}");
        }
        assert!(problems(SETTINGS, "claims = { \"/repository_owner_id\" = \"65\" }").is_empty());
    }

    #[tokio::test]
    async fn a_jobs_token_is_young_has_ids_and_is_for_us() {
        let world = provider(SETTINGS, "claims = { \"/repository_id\" = \"74\" }").await;
        for (mint, reason) in [
            (job(&world).without("repository_id"), Reason::WrongClaims),
            (job(&world).without("repository_owner_id"), Reason::WrongClaims),
            (job(&world).ttl(Duration::from_secs(3601)), Reason::WrongClaims),
            (job(&world).audience("https://github.com/octo-org"), Reason::WrongAudience),
            (job(&world).issuer(format!("{ISSUER}.evil.example")), Reason::UnknownIssuer),
            (job(&world).issuer(format!("{ISSUER}/evil")), Reason::UnknownIssuer),
        ] {
            assert_eq!(subject(&world, mint).await, Err(reason));
        }
    }
}

mod kubernetes {
    use super::*;

    const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";

    fn settings(issuer: &str) -> String {
        format!(
            "preset = \"kubernetes\"\nissuer = \"{issuer}\"\ntenant = \"acme\"\nother_audiences = \"{CLUSTER}\""
        )
    }

    fn pod(world: &World, issuer: &str) -> Mint {
        let about = json!({
            "namespace": "prod",
            "node": {"name": "node-1", "uid": "646e7c5e"},
            "pod": {"name": "api-0", "uid": "5e0bd49b"},
            "serviceaccount": {"name": "api", "uid": "14ee3fa4"},
        });
        let mint = world.idp.mint("system:serviceaccount:prod:api").issuer(issuer).audience("portunus");
        mint.claim("kubernetes.io", about).without("auth_time")
    }

    /// The API server publishes its own discovery document, and may be told to write several audiences.
    #[tokio::test]
    async fn a_projected_token_is_verified_by_the_api_servers_discovery() {
        let world = World::new("").await;
        let issuer = world.idp.issuer().to_owned();
        let entry = entries("x", &settings(&issuer), "subject = \"system:serviceaccount:prod:*\"");
        let mut config = configuration("https://idp.example", &entry.replace("jwks_uri = \"x\"\n", ""));
        config.issuers.remove(0);
        let server = server(config, world.store.clone(), &world.clock, &world.audit).await.unwrap();
        let world = World { server, ..world };
        assert_eq!(subject(&world, pod(&world, &issuer)).await.unwrap(), "system:serviceaccount:prod:api");
        subject(&world, pod(&world, &issuer).audience(CLUSTER)).await.unwrap();
        let not_for_us = world.idp.mint("system:serviceaccount:prod:api").audience(CLUSTER);
        assert_eq!(
            subject(
                &world,
                not_for_us.claim(
                    "kubernetes.io",
                    json!({
                        "namespace": "prod", "serviceaccount": {"name": "api"}
                    })
                )
            )
            .await,
            Err(Reason::WrongAudience)
        );
        let third = pod(&world, &issuer).audience("https://vault.example");
        assert_eq!(subject(&world, third).await, Err(Reason::WrongAudience));
        assert_eq!(world.idp.count("/.well-known/openid-configuration"), 1);
    }

    #[tokio::test]
    async fn only_a_service_account_that_says_so_twice_is_one() {
        let world = provider(&settings(CLUSTER), "subject = \"system:serviceaccount:*:*\"").await;
        subject(&world, pod(&world, CLUSTER)).await.unwrap();
        let about =
            |namespace: &str, name: &str| json!({"namespace": namespace, "serviceaccount": {"name": name}});
        for mint in [
            pod(&world, CLUSTER).claim("sub", "system:serviceaccount:kube-system:api"),
            pod(&world, CLUSTER).claim("sub", "system:serviceaccount:prod"),
            pod(&world, CLUSTER).claim("sub", "system:serviceaccount:prod:api:x"),
            pod(&world, CLUSTER).claim("sub", "system:node:node-1"),
            pod(&world, CLUSTER).claim("kubernetes.io", about("prod", "admin")),
            pod(&world, CLUSTER).claim("kubernetes.io", "prod"),
            pod(&world, CLUSTER).without("kubernetes.io"),
            // A token of a secret, which lasts for ever.
            pod(&world, CLUSTER).without("exp"),
        ] {
            assert_eq!(subject(&world, mint).await, Err(Reason::WrongClaims));
        }
    }
}

mod spiffe {
    use super::*;

    const SETTINGS: &str = "preset = \"spiffe\"\nissuer = \"spiffe://prod.example\"\ntenant = \"acme\"";
    const ID: &str = "spiffe://prod.example/ns/web/sa/api";

    /// A JWT-SVID need not name an issuer or say when it was issued.
    fn workload(world: &World, id: &str) -> Mint {
        let mint = world.idp.mint(id).audience("portunus").ttl(Duration::from_secs(300));
        ["iss", "iat", "auth_time", "jti"].into_iter().fold(mint, |mint, claim| mint.without(claim))
    }

    #[tokio::test]
    async fn a_workload_is_its_spiffe_id_in_our_trust_domain() {
        let world = provider(SETTINGS, "subject = \"spiffe://prod.example/ns/*\"").await;
        assert_eq!(subject(&world, workload(&world, ID)).await.unwrap(), ID);
        for (id, reason) in [
            ("spiffe://other.example/ns/web/sa/api", Reason::UnknownIssuer),
            ("spiffe://prod.example.evil.example/ns/a", Reason::UnknownIssuer),
            ("spiffe://prod.example", Reason::WrongClaims),
            ("spiffe://prod.example/", Reason::WrongClaims),
            ("spiffe://prod.example/ns/../a", Reason::WrongClaims),
            ("spiffe://prod.example//ns", Reason::WrongClaims),
            ("spiffe://user@prod.example/ns/a", Reason::WrongClaims),
            ("spiffe://PROD.example/ns/a", Reason::WrongClaims),
            ("https://prod.example/ns/a", Reason::WrongClaims),
            ("alice", Reason::WrongClaims),
        ] {
            assert_eq!(subject(&world, workload(&world, id)).await, Err(reason), "{id}");
        }
        let named = workload(&world, ID).claim("x", 1);
        assert!(subject(&world, named).await.is_ok());
        let long = workload(&world, ID).ttl(Duration::from_secs(25 * 3600));
        assert_eq!(subject(&world, long).await, Err(Reason::WrongClaims));
        // Everybody else says when a token was issued.
        let person = world.idp.mint("alice").audience("portunus").without("iat");
        assert_eq!(subject(&world, person).await, Err(Reason::WrongClaims));
    }

    #[tokio::test]
    async fn a_bundle_has_keys_for_other_uses() {
        let published = Published::silent("").await;
        let settings = format!("preset = \"spiffe\"\njwks_uri = \"{}/jwks.json\"", published.site.uri());
        let server = published.configured("spiffe://prod.example", &settings).await;
        let (mut jwt, mut x509) = (published.signer.jwk("ES256"), published.signer.jwk("ES384"));
        (jwt["use"], x509["use"]) = ("jwt-svid".into(), "x509-svid".into());
        published.keys(&json!({"keys": [jwt, x509], "spiffe_sequence": 7, "spiffe_refresh_hint": 300})).await;
        let verified = async |algorithm: &str, typ: &str| {
            let claims = json!({"sub": ID, "aud": ["portunus"], "exp": NOW + 300});
            let token = published.signer.sign(algorithm, json!({"typ": typ}), &claims);
            server.verify(&portunus_auth_core::BearerToken::new(token)).await.is_ok()
        };
        assert!(verified("ES256", "JWT").await && verified("ES256", "JOSE").await);
        assert!(!verified("ES256", "JWS").await && !verified("ES384", "JWT").await);
    }

    #[tokio::test]
    async fn an_issuer_with_a_name_of_its_own_says_whose_trust_domain_it_is() {
        let settings = SETTINGS.replace(
            "issuer = \"spiffe://prod.example\"",
            "issuer = \"https://oidc.prod.example\"\ntrust_domain = \"prod.example\"",
        );
        let world = provider(&settings, "subject = \"spiffe://*\"").await;
        let named = |id: &str| workload(&world, id).claim("jti", "1");
        let issued = |id: &str| {
            let mint = world.idp.mint(id).audience("portunus").issuer("https://oidc.prod.example");
            mint.without("iat").ttl(Duration::from_secs(300))
        };
        assert_eq!(subject(&world, issued(ID)).await.unwrap(), ID);
        assert_eq!(subject(&world, issued("spiffe://other.example/a")).await, Err(Reason::NotAdmitted));
        assert_eq!(subject(&world, named(ID)).await, Err(Reason::UnknownIssuer));
        for wrong in [
            "preset = \"spiffe\"\nissuer = \"https://oidc.prod.example\"\ntenant = \"acme\"",
            "preset = \"spiffe\"\nissuer = \"spiffe://a.example\"\ntrust_domain = \"a.example\"\ntenant = \"acme\"",
            "issuer = \"https://oidc.prod.example\"\ntrust_domain = \"a.example\"\ntenant = \"acme\"",
        ] {
            assert_eq!(problems(wrong, "subject = \"spiffe://*\""), ["issuers.1.trust_domain"], "{wrong}");
        }
    }
}

/// Whatever a preset knows, the operator's own settings count.
#[tokio::test]
async fn a_setting_outweighs_the_preset() {
    let settings = "preset = \"okta\"\nissuer = \"https://acme.okta.com\"\ntenant = \"acme\"\n\
                    algorithms = [\"ES256\"]\nmax_token_age = \"2h\"\ngroups_claim = \"/teams\"";
    let world = provider(settings, "groups = \"eng\"").await;
    let user = || {
        let mint = world.idp.mint("00u1").issuer("https://acme.okta.com").audience("portunus");
        mint.claim("teams", vec!["eng"])
    };
    assert_eq!(subject(&world, user()).await, Err(Reason::UnsupportedAlgorithm));
    let es256 = || user().algorithm(portunus_mock::Algorithm::Es256);
    subject(&world, es256()).await.unwrap();
    assert_eq!(subject(&world, es256().ttl(Duration::from_secs(7201))).await, Err(Reason::WrongClaims));
    assert_eq!(Algorithm::DEFAULT.len(), 5);
    assert!(world.events().iter().all(|event| event.kind != EventKind::AdminDenied));
}

#[test]
fn two_entries_about_one_name_are_refused() {
    let google = "preset = \"google\"\nissuer = \"https://accounts.google.com\"\ntenant = \"acme\"\n\
                  [[issuers]]\nname = \"q\"\npreset = \"google\"\nissuer = \"https://accounts.google.com\"\n\
                  tenant = \"acme\"";
    assert_eq!(problems(google, "subject = \"1*\""), ["issuers.2.issuer"]);
    let v2 = format!("https://login.microsoftonline.com/{A}/v2.0");
    let entra = format!(
        "preset = \"entra\"\nissuer = \"{v2}\"\ntenant = \"acme\"\n[[issuers]]\nname = \"q\"\n\
         issuer = \"https://sts.windows.net/{A}/\"\ntenant = \"acme\""
    );
    assert_eq!(problems(&entra, "subject = \"a*\""), ["issuers.2.issuer"]);
}

#[test]
fn a_table_of_tenants_needs_a_claim() {
    let table = "issuer = \"https://idp.example/t\"\ntenant = { \"org_1\" = \"acme\" }";
    assert_eq!(problems(table, "subject = \"a*\""), ["issuers.1.tenant_claim"]);
    let with = |claim: &str| problems(&format!("{table}\ntenant_claim = \"{claim}\""), "subject = \"a*\"");
    assert!(with("/org_id").is_empty());
    assert_eq!(with("org_id"), ["issuers.1.tenant_claim"]);
    let one = "issuer = \"https://idp.example/t\"\ntenant = \"acme\"\ntenant_claim = \"/org_id\"";
    assert_eq!(problems(one, "subject = \"a*\""), ["issuers.1.tenant_claim"]);
    let empty = "issuer = \"https://idp.example/t\"\ntenant = {}\ntenant_claim = \"/org_id\"";
    assert_eq!(problems(empty, "subject = \"a*\""), ["issuers.1.tenant"]);
}
