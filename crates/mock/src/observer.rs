//! Who is told of the requests as they are answered.

use std::fmt;
use std::sync::Arc;

use crate::capture::Recorded;

type Observe = dyn Fn(&Recorded) + Send + Sync;

#[derive(Clone, Default)]
pub(crate) struct Observer(Option<Arc<Observe>>);

impl Observer {
    pub(crate) fn new(observe: impl Fn(&Recorded) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observe)))
    }

    pub(crate) fn tell(&self, seen: &Recorded) {
        if let Some(observe) = &self.0 {
            observe(seen);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer" } else { "no observer" })
    }
}
