//! From `[[providers]]` and `[[models]]` to routes.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderName;
use portunus_auth_core::dialect::KEY_HEADERS;
use portunus_auth_core::{
    Clock, ConfigProblem, CredentialProvider, CredentialSource, SecretRef, SecretSource,
};
use portunus_credentials::{RefreshPolicy, StaticTokenProvider};
use url::Url;

use crate::config::{Config, ModelConfig, ProviderConfig, ProviderType};
use crate::routes::Routes;
use crate::upstream::Provider;

/// A provider of a configuration, and how its credential is obtained.
#[derive(Debug)]
pub struct ProviderCredential {
    /// The provider's name.
    pub provider: String,
    /// What the configuration calls the source of the credential.
    pub kind: &'static str,
    /// When the gateway renews it.
    pub renewal: RefreshPolicy,
    /// The source, without a cache: each fetch asks the issuer.
    pub source: Box<dyn CredentialSource>,
}

/// How the configured providers, and the built-in ones that models use, obtain their credentials.
pub(crate) fn credentials(
    config: &Config,
    secrets: &dyn SecretSource,
    clock: &Arc<dyn Clock>,
    problems: &mut Vec<ConfigProblem>,
) -> Vec<ProviderCredential> {
    let mut found: Vec<ProviderCredential> = Vec::new();
    let mut add = |provider: &str, (kind, renewal), at: String, source: Result<_, _>| match source {
        Ok(_) if found.iter().any(|other| other.provider == provider) => {}
        Ok(source) => {
            found.push(ProviderCredential { provider: provider.to_owned(), kind, renewal, source });
        }
        Err(problem) => problems.push(ConfigProblem::below(problem, &at)),
    };
    let usual = RefreshPolicy::default();
    for (n, provider) in config.providers.iter().enumerate().filter(|(_, provider)| provider.enabled) {
        let at = format!("providers.{n}");
        let (kind, source) = match (&provider.api_key, &provider.credential) {
            (Some(key), None) => (("api_key", usual), fixed(provider.provider_type, key, "api_key", secrets)),
            (None, Some(credential)) => {
                let source = credential.source(secrets, clock.clone());
                (
                    (credential.name(), credential.policy()),
                    source.map_err(|problem| problem.below("credential")),
                )
            }
            _ => (("", usual), Err(one_credential())),
        };
        add(&provider.name, kind, at, source);
    }
    for (n, model) in config.models.iter().enumerate() {
        let (name, _) = provider_name(model);
        if config.providers.iter().any(|provider| provider.name == name) {
            continue;
        }
        if let Some(kind) = ProviderType::built_in(name) {
            let (key, at) = built_in_key(kind, model.api_key.as_ref());
            add(name, ("api_key", usual), format!("models.{n}"), fixed(kind, &key, at, secrets));
        }
    }
    found
}

fn fixed(
    kind: ProviderType,
    key: &SecretRef,
    at: &str,
    secrets: &dyn SecretSource,
) -> Result<Box<dyn CredentialSource>, ConfigProblem> {
    Ok(Box::new(api_key(kind, key, at, secrets)?))
}

fn one_credential() -> ConfigProblem {
    ConfigProblem::new("name", "give either `api_key` or `credential`")
}

/// The key of a built-in provider, and the setting that is wrong if there is none.
fn built_in_key(kind: ProviderType, key: Option<&SecretRef>) -> (SecretRef, &'static str) {
    let variable = match kind {
        ProviderType::OpenAi => "OPENAI_API_KEY",
        ProviderType::Azure => "AZURE_AD_TOKEN",
        ProviderType::Anthropic => "ANTHROPIC_API_KEY",
    };
    match key {
        Some(key) => (key.clone(), "api_key"),
        None => (SecretRef::Env(variable.to_owned()), "provider_model"),
    }
}

/// The routes to every model, with whatever is wrong in `problems`.
pub(crate) fn routes(
    config: &Config,
    secrets: &dyn SecretSource,
    clock: &Arc<dyn Clock>,
    problems: &mut Vec<ConfigProblem>,
) -> Routes {
    // A provider that is switched off, or wrong and already reported, is known but not there.
    let mut known: HashMap<&str, Option<Arc<Provider>>> = HashMap::new();
    for (n, provider) in config.providers.iter().enumerate() {
        let built = if provider.enabled {
            build(provider, secrets, clock).map(|built| Some(Arc::new(built)))
        } else {
            Ok(None)
        };
        let built = built.unwrap_or_else(|problem| {
            problems.push(problem.below(&format!("providers.{n}")));
            None
        });
        known.entry(&provider.name).or_insert(built);
    }
    let mut routes = Routes::default();
    for (n, model) in config.models.iter().enumerate() {
        match route(model, &known, secrets) {
            Ok(Some((provider, name))) => routes.add(&model.name, provider, name),
            Ok(None) => {}
            Err(problem) => problems.push(problem.below(&format!("models.{n}"))),
        }
        if let Some(first) = twin(&config.models, &config.providers, n) {
            let says = format!("the same model as the {} one in [[models]]", ordinal(first));
            problems.push(ConfigProblem::new(format!("models.{n}.name"), says));
        }
    }
    routes
}

/// An earlier model of the same name that would always win, because its provider speaks the same dialect.
fn twin(models: &[ModelConfig], providers: &[ProviderConfig], n: usize) -> Option<usize> {
    let dialect = |model: &ModelConfig| {
        let name = provider_name(model).0;
        let configured = providers.iter().find(|provider| provider.name == name);
        configured
            .map(|p| p.provider_type)
            .or_else(|| ProviderType::built_in(name))
            .map(ProviderType::dialect)
    };
    let model = models.get(n)?;
    let same = |other: &ModelConfig| {
        other.name == model.name && dialect(other).is_some() && dialect(other) == dialect(model)
    };
    models.iter().take(n).position(same)
}

fn ordinal(n: usize) -> String {
    match n {
        0 => "first".to_owned(),
        1 => "second".to_owned(),
        2 => "third".to_owned(),
        _ => format!("{}th", n + 1),
    }
}

fn provider_name(model: &ModelConfig) -> (&str, &str) {
    model.provider_model.split_once('/').unwrap_or((&model.provider_model, ""))
}

/// The names by which providers are granted: those that are configured, and the built-in ones that models use.
pub(crate) fn names(config: &Config) -> Vec<&str> {
    let configured = config.providers.iter().map(|provider| provider.name.as_str());
    configured.chain(config.models.iter().map(|model| provider_name(model).0)).collect()
}

type Routed<'a> = Option<(Arc<Provider>, Option<&'a str>)>;

fn route<'a>(
    model: &'a ModelConfig,
    known: &HashMap<&str, Option<Arc<Provider>>>,
    secrets: &dyn SecretSource,
) -> Result<Routed<'a>, ConfigProblem> {
    let (provider, name) = provider_name(model);
    if provider.is_empty() || name.is_empty() {
        return Err(ConfigProblem::new("provider_model", "write PROVIDER/MODEL, such as \"openai/gpt-4o\""));
    }
    let name = Some(name).filter(|name| *name != "*");
    if name.is_some() && model.name.as_str().contains('*') {
        let says = "a pattern of names keeps the caller's name: end `provider_model` in `/*`";
        return Err(ConfigProblem::new("provider_model", says));
    }
    if let Some(provider) = known.get(provider) {
        if model.api_key.is_some() {
            let says = "only for built-in providers; give the key to the [[providers]] entry instead";
            return Err(ConfigProblem::new("api_key", says));
        }
        return Ok(provider.clone().map(|provider| (provider, name)));
    }
    let kind = ProviderType::built_in(provider).ok_or_else(|| {
        let says = format!(
            "there is no provider `{provider}`: name a [[providers]] entry, openai, azure or anthropic"
        );
        ConfigProblem::new("provider_model", says)
    })?;
    let built = built_in(provider, kind, model.api_key.as_ref(), secrets)?;
    Ok(Some((Arc::new(built), name)))
}

fn build(
    config: &ProviderConfig,
    secrets: &dyn SecretSource,
    clock: &Arc<dyn Clock>,
) -> Result<Provider, ConfigProblem> {
    let credential: Arc<dyn CredentialProvider> = match (&config.api_key, &config.credential) {
        (Some(key), None) => Arc::new(api_key(config.provider_type, key, "api_key", secrets)?),
        (None, Some(credential)) => {
            credential.build(secrets, clock.clone()).map_err(|problem| problem.below("credential"))?
        }
        _ => return Err(one_credential()),
    };
    let default = default_url(config.provider_type);
    let (at, url) = match (&config.base_url, default) {
        (Some(url), _) => ("base_url", url.clone()),
        (None, Some(url)) => ("name", parse(url)?),
        (None, None) => {
            return Err(ConfigProblem::new(
                "name",
                "give `base_url`, such as \"https://NAME.openai.azure.com/openai/v1\"",
            ));
        }
    };
    let forward_headers = forward_headers(&config.forward_headers)?;
    Provider::new(&config.name, config.provider_type, &url, credential, forward_headers)
        .map_err(|says| ConfigProblem::new(at, says))
}

/// Further headers of callers. None by which a caller authenticates, and none that frames a message.
fn forward_headers(names: &[String]) -> Result<Vec<HeaderName>, ConfigProblem> {
    let parse = |(n, name): (usize, &String)| {
        let wrong = |says: &str| ConfigProblem::new(format!("forward_headers.{n}"), says);
        let name = HeaderName::try_from(name.as_str()).map_err(|_| wrong("this is no header's name"))?;
        let never = [
            "cookie",
            "dpop",
            "connection",
            "transfer-encoding",
            "content-length",
            "host",
            "te",
            "upgrade",
            "expect",
        ];
        if KEY_HEADERS.contains(&name)
            || never.contains(&name.as_str())
            || name.as_str().starts_with("proxy-")
        {
            return Err(wrong("this header never reaches a provider"));
        }
        Ok(name)
    };
    names.iter().enumerate().map(parse).collect()
}

/// A provider that needs no entry: it reads the variables that the vendor's own client reads.
fn built_in(
    name: &str,
    kind: ProviderType,
    key: Option<&SecretRef>,
    secrets: &dyn SecretSource,
) -> Result<Provider, ConfigProblem> {
    let url_variable = match kind {
        ProviderType::OpenAi => "OPENAI_BASE_URL",
        ProviderType::Azure => "AZURE_OPENAI_ENDPOINT",
        ProviderType::Anthropic => "ANTHROPIC_BASE_URL",
    };
    let (key, at) = built_in_key(kind, key);
    let credential = Arc::new(api_key(kind, &key, at, secrets)?);
    let url = match (secrets.env(url_variable).filter(|url| !url.is_empty()), default_url(kind)) {
        (Some(endpoint), _) if kind == ProviderType::Azure => {
            parse(&format!("{}/openai/v1", endpoint.trim_end_matches('/')))?
        }
        (Some(url), _) => parse(&url)?,
        (None, Some(url)) => parse(url)?,
        (None, None) => {
            return Err(ConfigProblem::new(
                "provider_model",
                format!("the variable `{url_variable}` is not set"),
            ));
        }
    };
    Provider::new(name, kind, &url, credential, Vec::new())
        .map_err(|says| ConfigProblem::new("provider_model", format!("{url_variable} {says}")))
}

fn default_url(kind: ProviderType) -> Option<&'static str> {
    match kind {
        ProviderType::OpenAi => Some("https://api.openai.com/v1"),
        ProviderType::Anthropic => Some("https://api.anthropic.com"),
        ProviderType::Azure => None,
    }
}

fn parse(url: &str) -> Result<Url, ConfigProblem> {
    Url::parse(url).map_err(|_| ConfigProblem::new("provider_model", "the provider's base URL is not a URL"))
}

/// A key where this provider expects it.
fn api_key(
    kind: ProviderType,
    reference: &SecretRef,
    at: &str,
    secrets: &dyn SecretSource,
) -> Result<StaticTokenProvider, ConfigProblem> {
    let key = reference.resolve(secrets).map_err(|error| ConfigProblem::new(at, error))?;
    Ok(match kind {
        ProviderType::OpenAi | ProviderType::Azure => StaticTokenProvider::new(key),
        ProviderType::Anthropic => StaticTokenProvider::api_key(HeaderName::from_static("x-api-key"), key),
    })
}
