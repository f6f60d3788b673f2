//! Providers that are called without any key of theirs: by workload identity federation.

use portunus_mock::{FederationRule, MockCloud, MockIdp, OpenAiMapping, Recorded, ServerBuilder};

use crate::world::{Plan, World, ask};

struct Federated {
    world: World,
    cloud: MockCloud,
    /// Holds the identity token.
    folder: tempfile::TempDir,
}

async fn federated() -> Federated {
    let identity = MockIdp::builder().build().unwrap().mint("workload").without("jti").id_token();
    let rule = FederationRule::new("fdrl_1", "org").for_service_account("svac_1").trusting(&identity);
    let mapping = OpenAiMapping::new("idp_1", "svc_1").trusting(&identity);
    let cloud = MockCloud::builder().federation_rule(rule).openai(mapping).build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("identity");
    std::fs::write(&file, identity).unwrap();

    let provider = ServerBuilder::new()
        .with_bearer_token("sk-ant-oat01-mock-token-1")
        .with_bearer_token("sk-ant-oat01-mock-token-2")
        .with_bearer_token("openai-mock-token-1")
        .build()
        .await
        .unwrap();
    let (url, issuer) = (provider.url(), cloud.url());
    let more = format!(
        r#"
[[providers]]
name = "federated-anthropic"
provider_type = "anthropic"
base_url = "{url}"
[providers.credential]
source = "anthropic-federation"
federation_rule_id = "fdrl_1"
organization_id = "org"
service_account_id = "svac_1"
base_url = "{issuer}"
identity = {{ source = "file", path = {file:?} }}

[[providers]]
name = "federated-openai"
provider_type = "openai"
base_url = "{url}/v1"
[providers.credential]
source = "openai-federation"
identity_provider_id = "idp_1"
service_account_id = "svc_1"
token_url = "{issuer}/oauth/token"
identity = {{ source = "kubernetes", path = {file:?} }}

[[models]]
name = "gone"
provider_model = "federated-anthropic/claude-opus"

[[models]]
name = "gone"
provider_model = "federated-openai/gpt-4o"
"#
    );
    let mut world = World::planned(Plan { more, ..Plan::default() }).await;
    world.mock = provider;
    Federated { world, cloud, folder }
}

fn sent(world: &World) -> Recorded {
    world.mock.requests().last().unwrap().clone()
}

#[tokio::test]
async fn anthropic_gets_the_token_with_its_flag_beside_the_callers_and_no_key() {
    let Federated { world, cloud, folder: _kept } = federated().await;
    let (key, _) = world.key("alice").await;
    let call = || world.messages(&key, &ask("gone"));
    let answer = call().header("anthropic-beta", "context-1m-2025-08-07").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = sent(&world);
    assert_eq!(seen.credential().unwrap().expose(), "sk-ant-oat01-mock-token-1");
    assert_eq!(seen.header("anthropic-beta"), Some("context-1m-2025-08-07, oauth-2025-04-20"));
    assert!(seen.header("x-api-key").is_none());

    assert_eq!(call().send().await.unwrap().status(), 200);
    assert_eq!(sent(&world).header("anthropic-beta"), Some("oauth-2025-04-20"));
    assert_eq!(cloud.count("/v1/oauth/token"), 1, "the token is kept");

    world.mock.revoke_token("sk-ant-oat01-mock-token-1");
    assert_eq!(call().send().await.unwrap().status(), 200);
    assert_eq!(cloud.count("/v1/oauth/token"), 2, "a refused token is replaced");
    assert_eq!(sent(&world).credential().unwrap().expose(), "sk-ant-oat01-mock-token-2");
}

#[tokio::test]
async fn openai_gets_the_token_of_the_service_account() {
    let Federated { world, cloud, folder: _kept } = federated().await;
    let (key, _) = world.key("alice").await;
    assert_eq!(world.chat(&key, &ask("gone")).send().await.unwrap().status(), 200);
    assert_eq!(sent(&world).credential().unwrap().expose(), "openai-mock-token-1");
    assert_eq!(cloud.count("/oauth/token"), 1);
}
