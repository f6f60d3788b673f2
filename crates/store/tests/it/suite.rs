//! Every engine, through the suite they share.

use std::sync::Arc;

use portunus_auth_core::clock::ManualClock;
use portunus_store::conformance::Subject;
use portunus_store::{Embedded, Memory, conformance_suite};

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at_unix(1_767_225_600))
}

mod memory {
    use super::*;

    fn make() -> Subject {
        let clock = clock();
        (Arc::new(Memory::new(clock.clone())), clock)
    }

    conformance_suite!(make);
}

mod embedded {
    use super::*;

    /// The file outlives its name: the directory is gone when this returns.
    fn make() -> Subject {
        let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
        let store = Embedded::open(folder.path().join("state.redb"), clock.clone()).unwrap();
        (Arc::new(store), clock)
    }

    conformance_suite!(make);
}
