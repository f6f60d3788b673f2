//! What the demonstration prints.

use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{Called, Demo, Key};
use crate::exit::Failure;

pub(crate) fn what_runs(demo: &Demo, json: bool) {
    if json {
        return;
    }
    println!("Three servers in this process, and none of them holds another's secret:");
    println!("  mock identity provider  {}", demo.idp.issuer());
    println!("  mock LLM provider       {}", demo.provider.url());
    println!("  Portunus gateway        {}", demo.base_url());
    println!("  configuration           {}", demo.folder.join("portunus.toml").display());
    println!();
}

pub(crate) fn key(key: &Key, json: bool) {
    if json {
        return;
    }
    println!("1. Alice, an engineer, exchanges her ID token for a key (POST /auth/token):");
    println!("  key      {}", key.access_token.expose_secret());
    println!("  jti      {}", key.jti);
    println!("  for      {} s", key.expires_in);
    println!("  scope    {}", key.scope);
    println!();
}

pub(crate) async fn call(demo: &Demo, call: &Called, json: bool) -> Result<(), Failure> {
    let line = audit_line(&demo.audit_file(), &call.request_id).await?;
    if json {
        return Ok(());
    }
    println!("2. With that key she makes a streamed call (POST /v1/chat/completions, model gpt-4o):");
    println!("  {} events: {}", call.events, call.text.trim());
    println!();
    println!("3. The audit's line of that call ({}):", demo.audit_file().display());
    println!("  {line}");
    println!();
    Ok(())
}

/// The audit's line of that request. Written shortly after the call has ended.
async fn audit_line(file: &Path, request_id: &str) -> Result<String, Failure> {
    for _ in 0..100 {
        let text = tokio::fs::read_to_string(file).await.unwrap_or_default();
        let mut complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        if let Some(line) = complete.find(|line| line.contains(request_id)) {
            return Ok(line.trim_end().to_owned());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(Failure::Retry(format!("the audit {} has no line of the call {request_id}", file.display())))
}

pub(crate) fn settings(demo: &Demo, key: &Key) {
    let (url, text) = (demo.base_url(), key.access_token.expose_secret());
    println!("Use it with the OpenAI SDK (any model gpt-4o…):");
    println!("  export OPENAI_BASE_URL={url}/v1");
    println!("  export OPENAI_API_KEY={text}");
    println!(
        "  python -c 'from openai import OpenAI; print(OpenAI().chat.completions.create(model=\"gpt-4o\", messages=[{{\"role\":\"user\",\"content\":\"hi\"}}]).choices[0].message.content)'"
    );
    println!();
    println!("Use it with the Anthropic SDK or Claude Code (any model claude-…):");
    println!("  export ANTHROPIC_BASE_URL={url}");
    println!("  export ANTHROPIC_AUTH_TOKEN={text}");
    println!("  unset ANTHROPIC_API_KEY");
    println!();
    println!(
        "Another identity: curl '{}/__mock/id_token?sub=bob&groups=eng&aud=portunus'",
        demo.idp.issuer()
    );
    let header = demo.folder.join("admin.header");
    println!("Revoke the key:   curl -X DELETE -H @{} {url}/auth/token/{}", header.display(), key.jti);
}

/// Everything a program needs, in one line.
pub(crate) fn json(demo: &Demo, key: &Key) -> Result<(), Failure> {
    let line = json!({
        "ready": true,
        "base_url": demo.base_url(),
        "issuer": demo.idp.issuer(),
        "mock_url": demo.provider.url(),
        "key": key.access_token.expose_secret(),
        "jti": key.jti,
        "admin_token": demo.secrets.admin.expose_secret(),
        "limited_secret": demo.secrets.limited.expose_secret(),
        "provider_secret": demo.secrets.provider.expose_secret(),
        "audit_file": demo.audit_file(),
        "config": demo.folder.join("portunus.toml"),
    });
    println!("{line}");
    std::io::Write::flush(&mut std::io::stdout()).map_err(|error| Failure::Retry(error.to_string()))
}
