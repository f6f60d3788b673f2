//! Stands in for the crate's own `sync`: the same names, under the checker's control.

use std::future::Future;
use std::sync::Arc;

pub(crate) use shuttle::sync::{Mutex, MutexGuard};

/// There is always a runtime.
#[derive(Debug, thiserror::Error)]
#[error("no runtime")]
pub(crate) struct TryCurrentError;

pub(crate) struct Handle;

impl Handle {
    pub(crate) fn try_current() -> Result<Self, TryCurrentError> {
        Ok(Self)
    }

    #[expect(clippy::unused_self, reason = "has the shape of tokio's")]
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(shuttle::future::spawn(task));
    }
}

/// Like `arc_swap`'s; each access is one step.
pub(crate) struct ArcSwapOption<T>(Mutex<Option<Arc<T>>>);

impl<T> ArcSwapOption<T> {
    pub(crate) fn empty() -> Self {
        Self(Mutex::new(None))
    }

    pub(crate) fn load(&self) -> Option<Arc<T>> {
        self.load_full()
    }

    pub(crate) fn load_full(&self) -> Option<Arc<T>> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn store(&self, value: Option<Arc<T>>) {
        *self.0.lock().unwrap() = value;
    }
}

/// Like tokio's `watch`, as far as the cache uses it.
pub(crate) mod watch {
    use std::ops::Deref;
    use std::sync::Arc;
    use std::task::{Poll, Waker};

    use shuttle::sync::{Mutex, MutexGuard};

    struct State<T> {
        value: T,
        closed: bool,
        waiting: Vec<Waker>,
    }

    pub(crate) struct Sender<T>(Arc<Mutex<State<T>>>);

    pub(crate) struct Receiver<T>(Arc<Mutex<State<T>>>);

    pub(crate) struct Ref<'a, T>(MutexGuard<'a, State<T>>);

    #[derive(Debug)]
    pub(crate) struct Closed;

    pub(crate) fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
        let state = Arc::new(Mutex::new(State { value, closed: false, waiting: Vec::new() }));
        (Sender(state.clone()), Receiver(state))
    }

    impl<T> Sender<T> {
        pub(crate) fn send_replace(&self, value: T) {
            self.change(|state| state.value = value);
        }

        fn change(&self, change: impl FnOnce(&mut State<T>)) {
            let waiting = {
                let mut state = self.0.lock().unwrap();
                change(&mut state);
                std::mem::take(&mut state.waiting)
            };
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.change(|state| state.closed = true);
        }
    }

    impl<T> Clone for Receiver<T> {
        fn clone(&self) -> Self {
            Self(self.0.clone())
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn has_changed(&self) -> Result<bool, Closed> {
            if self.0.lock().unwrap().closed { Err(Closed) } else { Ok(false) }
        }

        pub(crate) async fn wait_for(&mut self, ready: impl Fn(&T) -> bool) -> Result<Ref<'_, T>, Closed> {
            std::future::poll_fn(|cx| {
                let mut state = self.0.lock().unwrap();
                if ready(&state.value) {
                    Poll::Ready(Ok(()))
                } else if state.closed {
                    Poll::Ready(Err(Closed))
                } else {
                    state.waiting.push(cx.waker().clone());
                    Poll::Pending
                }
            })
            .await?;
            Ok(Ref(self.0.lock().unwrap()))
        }
    }

    impl<T> Deref for Ref<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0.value
        }
    }
}
