//! Serves the mock until it is killed:
//! `cargo run -p portunus-mock --example serve -- PORT KEY [AWS_KEY_ID:SECRET]`.

use portunus_mock::{Key, ServerBuilder};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().unwrap_or_default().parse().unwrap_or(0);
    let mut builder = ServerBuilder::new().port(port).faithful();
    if let Some(key) = arguments.next() {
        builder = builder.with_bearer_token(key);
    }
    if let Some((id, secret)) = arguments.next().as_deref().and_then(|pair| pair.split_once(':')) {
        builder = builder.with_key(Key::aws(id, secret));
    }
    let server = builder.build().await?;
    println!("READY {}", server.url());
    std::future::pending::<()>().await;
    Ok(())
}
