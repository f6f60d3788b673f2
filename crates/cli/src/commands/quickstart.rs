//! `portunus quickstart`

use super::end_wished;
use crate::args::Quickstart;
use crate::exit::Failure;
use crate::quickstart::{Demo, show};

pub(crate) async fn run(args: Quickstart) -> Result<(), Failure> {
    let demo = Demo::start(args.listen, args.dir.as_deref()).await?;
    show::what_runs(&demo, args.json);
    let key = demo.exchange().await?;
    show::key(&key, args.json);
    let call = demo.streamed_call(&key).await?;
    show::call(&demo, &call, args.json).await?;
    if args.json {
        show::json(&demo, &key)?;
    } else if !args.once {
        show::settings(&demo, &key);
    }
    if !args.once {
        end_wished().await;
    }
    demo.stop().await;
    Ok(())
}
