//! Serves the mock until it is killed: `cargo run -p portunus-mock --example serve -- PORT KEY`.

use portunus_mock::ServerBuilder;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().unwrap_or_default().parse().unwrap_or(0);
    let mut builder = ServerBuilder::new().port(port);
    if let Some(key) = arguments.next() {
        builder = builder.with_bearer_token(key);
    }
    let server = builder.build().await?;
    println!("READY {}", server.url());
    std::future::pending::<()>().await;
    Ok(())
}
