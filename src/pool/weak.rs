//! A pool that may go meanwhile, for whoever must not keep it alive.
//!
//! Owns the way back to the pool, as long as it is there.

use std::sync::{Arc, Weak};

use super::{Pool, PoolInner};
use crate::manager::Manager;
#[cfg(feature = "http")]
use crate::runtime::Accounts;

/// A pool that may go meanwhile.
pub(crate) struct PoolRef<M: Manager>(Weak<PoolInner<M>>);

impl<M: Manager> Clone for PoolRef<M> {
    fn clone(&self) -> Self {
        Self(Weak::clone(&self.0))
    }
}

impl<M: Manager> PoolRef<M> {
    /// The pool, to be held for no longer than a step.
    pub(crate) fn upgrade(&self) -> Option<Pool<M>> {
        self.0.upgrade().map(|inner| Pool { inner })
    }
}

impl<M: Manager> Pool<M> {
    /// For whoever must not keep the pool alive.
    pub(crate) fn downgrade(&self) -> PoolRef<M> {
        PoolRef(Arc::downgrade(&self.inner))
    }

    /// The accounts of the pool.
    #[cfg(feature = "http")]
    pub(crate) fn accounts(&self) -> &Arc<Accounts<M>> {
        &self.inner.registry
    }
}
