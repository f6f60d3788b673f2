//! What many keys have in common, held once: a million keys come of a few policies.

use std::hash::Hash;
use std::sync::Arc;

use dashmap::DashSet;
use portunus_auth_core::{Allow, Pattern, TenantId, TierName};

use super::KeyRecord;

/// The most values of a kind that are shared; of others each key has its own.
const MOST: usize = 4096;

/// The values that keys share.
#[derive(Debug, Default)]
pub(super) struct Common {
    tenants: DashSet<TenantId>,
    names: DashSet<Arc<str>>,
    tiers: DashSet<TierName>,
    sets: DashSet<Allow<Pattern>>,
}

impl Common {
    /// Has the record share what it has in common with others.
    pub(super) fn share(&self, record: &mut KeyRecord) {
        shared(&self.tenants, &mut record.owner.tenant);
        shared(&self.names, &mut record.owner.issuer);
        let grant = &mut record.grant;
        shared(&self.tiers, &mut grant.tier);
        for set in [&mut grant.models, &mut grant.tools, &mut grant.upstreams, &mut grant.roles] {
            shared(&self.sets, set);
        }
    }
}

fn shared<T: Clone + Eq + Hash>(all: &DashSet<T>, one: &mut T) {
    if let Some(same) = all.get(one) {
        *one = same.clone();
    } else if all.len() < MOST {
        all.insert(one.clone());
    }
}
