//! The one thread that writes: it takes whatever operations are waiting, applies them in one
//! transaction, commits, and only then answers. So a commit's cost is shared by all who wait for it.

use std::error::Error;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use portunus_auth_core::Clock;
use tokio::sync::{mpsc, oneshot};

use super::file::{DataFile, Failure, failed};
use super::tables::{self, Tables};
use crate::row::instant;
use crate::store::StoreError;
use crate::update::{Answer, Update};

/// How many operations may wait. Who comes when it is full waits to be let in.
const QUEUE: usize = 1024;

/// How many operations share a commit at most.
const BATCH: usize = 256;

/// How many ended rows a commit removes at most. Not fewer than it can add.
const REAP: usize = BATCH;

struct Job {
    update: Update,
    /// Whoever asked may have gone; the operation is done all the same.
    reply: oneshot::Sender<Result<Answer, StoreError>>,
}

/// The thread. Dropping this waits until what is queued has been done.
#[derive(Debug)]
pub(super) struct Writer {
    // Dropped before the thread is waited for: a queue that nobody can add to is what ends it.
    queue: mpsc::Sender<Job>,
    _thread: Joined,
}

impl Writer {
    pub(super) fn start(file: Arc<DataFile>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("portunus-store".to_owned())
            .spawn(move || run(&file, &*clock, jobs))
            .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        Ok(Self { queue, _thread: Joined(Some(thread)) })
    }

    /// Does the operation. The answer comes when it is on the disk.
    ///
    /// A caller that drops the future before the operation is queued has asked for nothing; after
    /// that it is done whether or not anybody waits.
    pub(super) async fn update(&self, update: Update) -> Result<Answer, StoreError> {
        let stopped = || StoreError::Unavailable("the writing thread has stopped".into());
        let (reply, answer) = oneshot::channel();
        self.queue.send(Job { update, reply }).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

#[derive(Debug)]
struct Joined(Option<JoinHandle<()>>);

impl Drop for Joined {
    fn drop(&mut self) {
        if self.0.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's writing thread panicked");
        }
    }
}

fn run(file: &DataFile, clock: &dyn Clock, mut queue: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(BATCH);
    while queue.blocking_recv_many(&mut jobs, BATCH) > 0 {
        let (updates, replies): (Vec<_>, Vec<_>) = jobs.drain(..).map(|job| (job.update, job.reply)).unzip();
        let mut more = match commit(file, clock, updates) {
            Ok((answers, more)) => {
                for (reply, answer) in replies.into_iter().zip(answers) {
                    let _ = reply.send(answer);
                }
                more
            }
            Err(failure) => {
                for reply in replies {
                    let _ = reply.send(Err(failure.error()));
                }
                false
            }
        };
        // Nobody waits: go on removing what has ended, in commits of bounded size.
        while more && queue.is_empty() && !queue.is_closed() {
            more = commit(file, clock, Vec::new()).is_ok_and(|(_, more)| more);
        }
    }
}

/// The operations' answers, and whether there are more ended rows to remove.
type Committed = (Vec<Result<Answer, StoreError>>, bool);

fn commit(file: &DataFile, clock: &dyn Clock, updates: Vec<Update>) -> Result<Committed, Failure> {
    file.mend();
    file.with(|database| {
        let transaction = tables::begin(database)?;
        let mut tables = Tables::open(&transaction)?;
        let mut answers = Vec::with_capacity(updates.len());
        for update in updates {
            answers.push(tables.apply(update, instant(clock.now()))?);
        }
        let more = tables.reap(REAP, instant(clock.now()))?;
        let changed = tables.changed;
        drop(tables);
        if changed {
            transaction.commit().map_err(failed)?;
        } else {
            transaction.abort().map_err(failed)?;
        }
        Ok((answers, more))
    })
    .map_err(|error| {
        let cause: &(dyn Error + 'static) = &error;
        tracing::error!(error = cause, "a commit to the store's file failed; opening it again");
        file.reopen();
        Failure::from(error)
    })
}
