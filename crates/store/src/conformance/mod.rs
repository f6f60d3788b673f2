//! What every engine must do, as one async function for each property.
//!
//! [`conformance_suite!`](crate::conformance_suite) declares a test for each of them. Every test gets
//! an empty store, and the clock that the store asks.

mod channels;
mod counters;
mod races;
mod scans;
mod values;

use std::sync::Arc;

pub use portunus_auth_core::clock::ManualClock;

pub use self::channels::*;
pub use self::counters::*;
pub use self::races::*;
pub use self::scans::*;
pub use self::values::*;
use crate::{Store, StoreError};

/// The outcome of a property: an error fails the test, as a panic does.
pub type Outcome = Result<(), StoreError>;

/// An empty store and the clock it asks.
pub type Subject = (Arc<dyn Store>, Arc<ManualClock>);

/// Declares one `#[tokio::test]` for each property of [`conformance`](crate::conformance).
///
/// The argument is the path of a function that makes an empty store and the clock it asks:
/// `fn() -> (Arc<dyn Store>, Arc<ManualClock>)`. The calling crate needs tokio with `macros` and
/// `rt-multi-thread`.
#[macro_export]
macro_rules! conformance_suite {
    ($make:path) => {
        $crate::conformance_suite! { $make:
            what_is_put_is_read_back
            large_values_and_empty_ones_are_kept
            an_entry_is_gone_from_its_instant_on
            an_entry_that_ended_before_it_was_put_is_not_there
            the_last_put_decides_when_it_ends
            many_entries_end_and_the_others_stay
            put_if_absent_sets_only_where_nothing_lives
            compare_and_swap_swaps_only_what_is_expected
            delete_says_whether_something_was_there
            scan_is_in_key_order
            scan_keeps_to_its_prefix
            scan_pages_through_everything_once
            scan_leaves_out_what_has_ended
            reserve_keeps_to_the_cap
            windows_are_multiples_of_their_length
            counters_are_apart
            settle_replaces_what_was_reserved
            settle_after_the_window_changes_nothing
            counting_does_not_overflow
            one_of_many_sets_what_is_absent
            one_of_many_swaps
            no_swap_is_lost
            one_of_many_deletes
            many_reserve_and_the_cap_holds
            a_dropped_caller_leaves_all_or_nothing
            all_subscribers_hear_their_channel_in_order
            a_slow_subscriber_is_told_that_it_missed_something
            subscriptions_end_with_the_store
        }
    };
    ($make:path: $($property:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $property() -> $crate::conformance::Outcome {
                $crate::conformance::$property($make()).await
            }
        )*
    };
}
