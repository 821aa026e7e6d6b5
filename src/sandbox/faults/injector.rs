//! Fault injector: a plan of faults at work.
//!
//! Owns how often each rule was applied. Never carries a fault out.

use super::plan::{CONNECT, Fault, FaultPlan, FaultRule, INTRODUCTION, UPDATES};
use crate::account_id::AccountId;
use crate::base::sync::{AtomicU64, Ordering};

/// A plan at work: its rules, and how often each was applied.
///
/// The counts are relaxed: each is a budget of its own that guards nothing.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct FaultInjector {
    rules: Vec<(FaultRule, AtomicU64)>,
}

impl FaultInjector {
    pub(in crate::sandbox) fn new(plan: &FaultPlan) -> Self {
        let rules = plan.rules.iter().cloned().map(|rule| (rule, AtomicU64::new(0))).collect();
        Self { rules }
    }

    /// Draws the fault of a call or its introduction, of a new connection or of an update, by the name that rules have for it.
    /// Whoever is not signed in is no account.
    pub(in crate::sandbox) fn draw(
        &self,
        target: &str,
        account: Option<AccountId>,
        random: &mut fastrand::Rng,
    ) -> Option<Fault> {
        self.rules.iter().find_map(|(rule, applied)| {
            let is_call = ![CONNECT, INTRODUCTION, UPDATES].contains(&target);
            let is_on = *rule.on == *target || (&*rule.on == "*" && is_call);
            let is_for = rule.account.is_none_or(|only| Some(only) == account);
            if !is_on || !is_for || random.f64() >= rule.chance {
                return None;
            }
            let spend = |count: u64| (count < rule.limit).then_some(count + 1);
            let spent = applied.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend);
            spent.ok().map(|_| rule.fault.clone())
        })
    }
}
