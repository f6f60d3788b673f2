//! `portunus mock …`

mod fixtures;

pub(super) use fixtures::validate;

use portunus_mock::{MockIdp, ServerBuilder, StartError};

use self::fixtures::Followed;
use super::end_wished;
use crate::args::MockServe;
use crate::exit::Failure;

pub(crate) async fn serve(args: MockServe) -> Result<(), Failure> {
    let mut builder = ServerBuilder::new().port(args.port);
    for key in &args.key {
        builder = match key.split_once(":uses=") {
            None => builder.with_bearer_token(key),
            Some((token, uses)) => {
                let uses =
                    uses.parse().map_err(|_| Failure::Usage(format!("`{uses}` is no number of uses")))?;
                builder.with_bearer_token_uses(token, uses)
            }
        };
    }
    let mut files = Followed::new(args.fixtures);
    builder = builder.fixtures(files.load()?);
    let failed = |error: StartError| Failure::Retry(format!("the mock cannot start: {error}"));
    let provider = builder.build().await.map_err(failed)?;
    let idp = if args.oauth {
        Some(MockIdp::builder().port(args.oauth_port).build().map_err(failed)?)
    } else {
        None
    };
    println!("mock provider on {}", provider.url());
    if let Some(idp) = &idp {
        println!("mock identity provider on {}", idp.issuer());
    }
    tokio::select! {
        () = end_wished() => fixtures::settle(&provider),
        never = files.follow(&provider) => match never {},
    }
}
