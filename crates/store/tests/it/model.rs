//! Whatever is asked in whatever order, the engines answer as a map does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portunus_auth_core::Clock;
use portunus_auth_core::clock::ManualClock;
use portunus_store::{Embedded, Held, Memory, NewValue, Reservation, Store, StoreError, Window};
use proptest::prelude::*;

const START: u64 = 1_000;

/// One operation. Keys are numbers of [`KEYS`]; an end is in seconds from now.
#[derive(Clone, Debug)]
enum Op {
    Get(usize),
    Put(usize, u8, Option<u64>),
    PutIfAbsent(usize, u8, Option<u64>),
    Swap(usize, Option<u8>, Option<(u8, Option<u64>)>),
    Delete(usize),
    Scan(usize, Option<usize>, usize),
    Reserve {
        counter: usize,
        amount: u64,
        cap: u64,
        seconds: u64,
    },
    /// One of the reservations so far.
    Settle {
        counter: usize,
        which: usize,
        used: u64,
    },
    Pass(u64),
    /// Closes the file and opens it again.
    Reopen,
}

const KEYS: [&str; 6] = ["", "a", "a/", "a/b", "a0", "ä"];

fn op() -> impl Strategy<Value = Op> {
    let key = 0..KEYS.len();
    let end = || proptest::option::of(0..4_u64);
    let value = || 0..3_u8;
    let swap = (proptest::option::of(value()), proptest::option::of((value(), end())));
    prop_oneof![
        key.clone().prop_map(Op::Get),
        (key.clone(), value(), end()).prop_map(|(key, value, end)| Op::Put(key, value, end)),
        (key.clone(), value(), end()).prop_map(|(key, value, end)| Op::PutIfAbsent(key, value, end)),
        (key.clone(), swap).prop_map(|(key, (expected, new))| Op::Swap(key, expected, new)),
        key.clone().prop_map(Op::Delete),
        (key.clone(), proptest::option::of(key), 0..4_usize)
            .prop_map(|(prefix, after, limit)| Op::Scan(prefix, after, limit)),
        (0..2_usize, 0..5_u64, 0..12_u64, 1..4_u64).prop_map(|(counter, amount, cap, seconds)| Op::Reserve {
            counter,
            amount,
            cap,
            seconds
        }),
        (0..2_usize, 0..8_usize, 0..8_u64).prop_map(|(counter, which, used)| Op::Settle {
            counter,
            which,
            used
        }),
        (0..3_u64).prop_map(Op::Pass),
        Just(Op::Reopen),
    ]
}

#[derive(Debug, PartialEq)]
enum Answer {
    Done,
    Flag(bool),
    Value(Option<Vec<u8>>),
    Values(Vec<(String, Vec<u8>)>),
    Reservation(Reservation),
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

async fn ask(store: &dyn Store, op: &Op, now: u64, held: &[Held]) -> Result<Answer, StoreError> {
    let end = |seconds: Option<u64>| seconds.map(|seconds| at(now + seconds));
    Ok(match op {
        Op::Get(key) => Answer::Value(store.get(KEYS[*key]).await?),
        Op::Put(key, value, ends) => {
            store.put(KEYS[*key], &[*value], end(*ends)).await?;
            Answer::Done
        }
        Op::PutIfAbsent(key, value, ends) => {
            Answer::Flag(store.put_if_absent(KEYS[*key], &[*value], end(*ends)).await?)
        }
        Op::Swap(key, expected, new) => {
            let expected = expected.map(|value| [value]);
            let bytes = new.map(|(value, _)| [value]);
            let new =
                bytes.as_ref().zip(*new).map(|(value, (_, ends))| NewValue { value, expires_at: end(ends) });
            let expected = expected.as_ref().map(<[u8; 1]>::as_slice);
            Answer::Flag(store.compare_and_swap(KEYS[*key], expected, new).await?)
        }
        Op::Delete(key) => Answer::Flag(store.delete(KEYS[*key]).await?),
        Op::Scan(prefix, after, limit) => {
            Answer::Values(store.scan(KEYS[*prefix], after.map(|key| KEYS[key]), *limit).await?)
        }
        Op::Reserve { counter, amount, cap, seconds } => {
            let window = Window { length: Duration::from_secs(*seconds) };
            Answer::Reservation(store.reserve(KEYS[*counter], *amount, *cap, window).await?)
        }
        Op::Settle { counter, which, used } => {
            if let Some(held) = held.get(*which) {
                store.settle(KEYS[*counter], *held, *used).await?;
            }
            Answer::Done
        }
        Op::Pass(_) | Op::Reopen => Answer::Done,
    })
}

/// The same, as simply as it can be said.
#[derive(Default)]
struct Model {
    values: BTreeMap<String, (u8, Option<u64>)>,
    counters: BTreeMap<(usize, SystemTime), u64>,
}

impl Model {
    fn ask(&mut self, op: &Op, now: u64, held: &[Held]) -> Answer {
        self.values.retain(|_, (_, ends)| ends.is_none_or(|ends| ends > now));
        self.counters.retain(|(_, until), _| *until > at(now));
        let there = |values: &BTreeMap<String, (u8, Option<u64>)>, key: usize| {
            values.get(KEYS[key]).map(|(value, _)| *value)
        };
        let entry = |key: usize, value: u8, ends: Option<u64>| {
            (KEYS[key].to_owned(), (value, ends.map(|seconds| now + seconds)))
        };
        match *op {
            Op::Get(key) => Answer::Value(there(&self.values, key).map(|value| vec![value])),
            Op::Put(key, value, ends) => {
                self.values.extend([entry(key, value, ends)]);
                Answer::Done
            }
            Op::PutIfAbsent(key, value, ends) => {
                let absent = there(&self.values, key).is_none();
                self.values.extend(absent.then(|| entry(key, value, ends)));
                Answer::Flag(absent)
            }
            Op::Swap(key, expected, new) => {
                let swap = there(&self.values, key) == expected;
                if swap {
                    self.values.remove(KEYS[key]);
                    self.values.extend(new.map(|(value, ends)| entry(key, value, ends)));
                }
                Answer::Flag(swap)
            }
            Op::Delete(key) => Answer::Flag(self.values.remove(KEYS[key]).is_some()),
            Op::Scan(prefix, after, limit) => Answer::Values(
                self.values
                    .iter()
                    .filter(|(key, _)| key.starts_with(KEYS[prefix]))
                    .filter(|(key, _)| after.is_none_or(|after| key.as_str() > KEYS[after]))
                    .take(limit)
                    .map(|(key, (value, _))| (key.clone(), vec![*value]))
                    .collect(),
            ),
            Op::Reserve { counter, amount, cap, seconds } => {
                let until = at((now / seconds + 1) * seconds);
                let used = self.counters.get(&(counter, until)).copied().unwrap_or(0);
                if used + amount > cap {
                    return Answer::Reservation(Reservation::Full { used, until });
                }
                let used = used + amount;
                self.counters.insert((counter, until), used);
                Answer::Reservation(Reservation::Held(Held { amount, used, until }))
            }
            Op::Settle { counter, which, used: spent } => {
                let held = held.get(which);
                if let Some((held, used)) =
                    held.and_then(|held| Some((held, self.counters.get_mut(&(counter, held.until))?)))
                {
                    *used = used.saturating_sub(held.amount) + spent;
                }
                Answer::Done
            }
            Op::Pass(_) | Op::Reopen => Answer::Done,
        }
    }
}

async fn compare(ops: Vec<Op>) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("state.redb");
    let clock = Arc::new(ManualClock::at_unix(START));
    let open =
        || Embedded::open(&path, clock.clone()).map_err(|error| TestCaseError::fail(format!("{error:?}")));
    let memory = Memory::new(clock.clone());
    let mut embedded = Some(open()?);
    let (mut model, mut held) = (Model::default(), Vec::new());
    for op in ops {
        match op {
            Op::Pass(seconds) => clock.advance(Duration::from_secs(seconds)),
            Op::Reopen => {
                drop(embedded.take());
                embedded = Some(open()?);
            }
            _ => {}
        }
        let now = clock.now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let expected = model.ask(&op, now, &held);
        let engines = [Some(&memory as &dyn Store), embedded.as_ref().map(|store| store as &dyn Store)];
        for store in engines.into_iter().flatten() {
            let answer = ask(store, &op, now, &held).await;
            let answer = answer.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
            prop_assert_eq!(&answer, &expected, "{:?} of {:?}", op, store);
        }
        if let Answer::Reservation(Reservation::Held(kept)) = expected {
            held.push(kept);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn engines_answer_as_a_map_does(ops in proptest::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(compare(ops))?;
    }
}
