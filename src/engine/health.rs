//! The health of an account: sessions that must not be dialled, methods that cool down, and whether the
//! account serves at all.
//!
//! Owns the facts, not the reactions. Pure: time comes in as an argument.

use crate::base::clock::Tick;
use crate::manager::QuarantineReason;

/// How many resting methods an account remembers. Telegram limits a handful at a time; beyond
/// this the one that rests least is forgotten, at the price of one more refused call.
const COOLDOWNS_MAX: usize = 64;

/// Why an account cannot serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unready {
    Closed,
    Draining,
    NoSession,
    Quarantined(QuarantineReason),
}

/// What is known of one account.
#[derive(Debug)]
pub(crate) struct Health {
    sessions: u64,
    barred: u64,
    /// Made with the first: most accounts have none.
    incidents: Option<Box<Incidents>>,
}

#[derive(Debug, Default)]
struct Incidents {
    /// Why each barred session is; the last reason stands for the account.
    reasons: Vec<(u16, QuarantineReason)>,
    draining: bool,
    cooldowns: Vec<(u32, Tick)>,
    /// Sessions that may not be dialled yet, and until when.
    deferred: Vec<(u16, Tick)>,
}

impl Health {
    pub(crate) fn new(sessions: u16) -> Self {
        let mut health = Self { sessions: 0, barred: 0, incidents: None };
        health.set_sessions(sessions);
        health
    }

    /// The account has so many sessions from now on, the first ones. What is known of one that has gone
    /// counts again if it comes back.
    pub(crate) fn set_sessions(&mut self, sessions: u16) {
        self.sessions = if sessions >= 64 { u64::MAX } else { (1 << sessions) - 1 };
    }

    fn incidents(&mut self) -> &mut Incidents {
        self.incidents.get_or_insert_default()
    }

    fn reasons(&self) -> &[(u16, QuarantineReason)] {
        self.incidents.as_ref().map_or(&[], |incidents| &incidents.reasons)
    }

    fn all_cooldowns(&self) -> &[(u32, Tick)] {
        self.incidents.as_ref().map_or(&[], |incidents| &incidents.cooldowns)
    }

    fn is_draining(&self) -> bool {
        self.incidents.as_ref().is_some_and(|incidents| incidents.draining)
    }

    /// The sessions that are quarantined, as bits.
    pub(crate) fn barred(&self) -> u64 {
        self.barred
    }

    /// The same of those that are there still.
    pub(crate) fn quarantined(&self) -> u64 {
        self.barred & self.sessions
    }

    /// Those that are not there, or not any more.
    pub(crate) fn gone(&self) -> u64 {
        !self.sessions
    }

    /// Those that must not be dialled, for either reason.
    pub(crate) fn withheld(&self) -> u64 {
        self.barred | self.gone()
    }

    fn has(&self, slot: u16) -> bool {
        self.sessions & (1 << slot) != 0
    }

    /// Why no session of the account may be used, if that is so.
    pub(crate) fn unready(&self) -> Option<Unready> {
        if self.is_draining() {
            return Some(Unready::Draining);
        }
        if self.sessions & !self.barred != 0 {
            return None;
        }
        let last = self.quarantines().last();
        Some(last.map_or(Unready::NoSession, |(_, reason)| Unready::Quarantined(reason)))
    }

    pub(crate) fn drain(&mut self) {
        self.incidents().draining = true;
    }

    /// Bars one session, or all of them, and returns for which this is news, as bits. What only
    /// makes a session suspect changes nothing for one that is barred already; nor does an operator's wish
    /// for one that is more than suspect, whose reason tells more.
    pub(crate) fn quarantine(&mut self, slot: Option<u16>, reason: QuarantineReason) -> u64 {
        let mut news = 0;
        for session in 0..64 {
            if !self.has(session) {
                continue;
            }
            let known = self.barred & (1 << session) != 0
                && (reason == QuarantineReason::Suspect
                    || reason == QuarantineReason::Operator && !self.is_suspect(session)
                    || self.reasons().contains(&(session, reason)));
            if !known && slot.is_none_or(|slot| slot == session) {
                self.barred |= 1 << session;
                let reasons = &mut self.incidents().reasons;
                reasons.retain(|(barred, _)| *barred != session);
                reasons.push((session, reason));
                news |= 1 << session;
            }
        }
        news
    }

    /// Whether a session is barred because the server did not know it.
    pub(crate) fn is_suspect(&self, slot: u16) -> bool {
        self.has(slot) && self.reasons().contains(&(slot, QuarantineReason::Suspect))
    }

    /// Ends the quarantine of one session.
    pub(crate) fn clear(&mut self, slot: u16) {
        self.barred &= !(1 << slot);
        self.incidents().reasons.retain(|(barred, _)| *barred != slot);
    }

    /// Each barred session, and why it is.
    pub(crate) fn quarantines(&self) -> impl Iterator<Item = (u16, QuarantineReason)> + '_ {
        self.reasons().iter().copied().filter(|(slot, _)| self.has(*slot))
    }

    /// Forgets everything that keeps the account from serving. Returns whether there was anything.
    pub(crate) fn reinstate(&mut self) -> bool {
        let changes = self.barred != 0 || self.is_draining();
        self.barred = 0;
        if let Some(incidents) = &mut self.incidents {
            incidents.reasons.clear();
            incidents.draining = false;
        }
        changes
    }

    /// A session may not be dialled before this tick.
    pub(crate) fn defer(&mut self, slot: u16, until: Tick) {
        let deferred = &mut self.incidents().deferred;
        deferred.retain(|(session, _)| *session != slot);
        deferred.push((slot, until));
    }

    /// The sessions that may not be dialled yet, as bits.
    pub(crate) fn deferred(&self, now: Tick) -> u64 {
        let deferred = self.incidents.as_ref().map_or(&[][..], |incidents| &incidents.deferred);
        let waiting = deferred.iter().filter(|(_, until)| *until > now);
        waiting.fold(0, |bits, (slot, _)| bits | 1 << slot)
    }

    /// When the first of the sessions in service may be dialled, if none of them may yet.
    pub(crate) fn all_deferred_until(&self, now: Tick) -> Option<Tick> {
        let serving = self.sessions & !self.barred;
        let rest = serving != 0 && serving & !self.deferred(now) == 0;
        rest.then(|| self.first_deferral(serving, now)).flatten()
    }

    /// When the first of these sessions (as bits) may be dialled that may not yet.
    pub(crate) fn first_deferral(&self, slots: u64, now: Tick) -> Option<Tick> {
        let deferred = self.incidents.as_ref().map_or(&[][..], |incidents| &incidents.deferred);
        let meant =
            deferred.iter().filter(|(slot, until)| slots & (1 << slot) != 0 && *until > now);
        meant.map(|(_, until)| *until).min()
    }

    /// Lets a method rest. A shorter rest never shortens a longer one.
    pub(crate) fn cool_down(&mut self, key: u32, until: Tick, now: Tick) {
        let cooldowns = &mut self.incidents().cooldowns;
        cooldowns.retain(|(_, until)| *until > now);
        if let Some((_, known)) = cooldowns.iter_mut().find(|(known, _)| *known == key) {
            *known = until.max(*known);
            return;
        }
        if cooldowns.len() == COOLDOWNS_MAX {
            let least = (0..COOLDOWNS_MAX).min_by_key(|index| cooldowns[*index].1);
            cooldowns.swap_remove(least.expect("BUG: the list is full"));
        }
        cooldowns.push((key, until));
    }

    /// Until when a method rests.
    pub(crate) fn cooling_until(&self, key: u32, now: Tick) -> Option<Tick> {
        let found = self.all_cooldowns().iter().find(|(known, _)| *known == key);
        found.map(|(_, until)| *until).filter(|until| *until > now)
    }

    /// Every method that rests, and until when.
    pub(crate) fn cooldowns(&self, now: Tick) -> impl Iterator<Item = (u32, Tick)> + '_ {
        self.all_cooldowns().iter().copied().filter(move |(_, until)| *until > now)
    }

    /// Whether any method rests.
    pub(crate) fn is_cooling(&self, now: Tick) -> bool {
        self.all_cooldowns().iter().any(|(_, until)| *until > now)
    }

    /// Whether nothing would be lost if this were forgotten.
    pub(crate) fn is_clean(&self, now: Tick) -> bool {
        !self.is_draining() && self.quarantined() == 0 && !self.is_cooling(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_serves_until_its_last_session_is_barred() {
        let mut health = Health::new(2);
        assert_eq!(health.unready(), None);
        health.quarantine(Some(0), QuarantineReason::KeyDuplicated);
        assert_eq!((health.unready(), health.barred()), (None, 0b01));
        health.quarantine(Some(1), QuarantineReason::NeedsLogin);
        let reason = QuarantineReason::NeedsLogin;
        assert_eq!(health.unready(), Some(Unready::Quarantined(reason)));
        assert!(health.reinstate());
        assert_eq!((health.unready(), health.barred()), (None, 0));
        assert!(!health.reinstate(), "nothing keeps it from serving");
        assert_eq!(Health::new(0).unready(), Some(Unready::NoSession));
    }

    #[test]
    fn a_doubt_is_cleared_alone_and_takes_nothing_back() {
        let mut health = Health::new(2);
        assert_eq!(health.quarantine(Some(0), QuarantineReason::KeyDuplicated), 0b01);
        assert_eq!(health.quarantine(Some(0), QuarantineReason::KeyDuplicated), 0);
        assert_eq!(health.quarantine(None, QuarantineReason::Suspect), 0b10);
        assert_eq!(health.quarantine(None, QuarantineReason::Suspect), 0);
        assert_eq!((health.is_suspect(0), health.is_suspect(1)), (false, true));
        let duplicated = (0, QuarantineReason::KeyDuplicated);
        let quarantines = |health: &Health| health.quarantines().collect::<Vec<_>>();
        assert_eq!(quarantines(&health), [duplicated, (1, QuarantineReason::Suspect)]);
        health.clear(1);
        assert_eq!((health.unready(), health.barred()), (None, 0b01));
        assert_eq!(quarantines(&health), [duplicated]);
    }

    #[test]
    fn an_operator_bars_what_serves_or_is_suspect_and_hides_no_other_reason() {
        let mut health = Health::new(3);
        assert_eq!(health.quarantine(Some(0), QuarantineReason::Dead), 0b001);
        assert_eq!(health.quarantine(Some(1), QuarantineReason::Suspect), 0b010);
        assert_eq!(health.quarantine(None, QuarantineReason::Operator), 0b110);
        assert_eq!(health.quarantine(None, QuarantineReason::Operator), 0);
        let barred =
            [QuarantineReason::Dead, QuarantineReason::Operator].map(|it| (it, it.remedy()));
        let known: Vec<_> =
            health.quarantines().map(|(slot, it)| (slot, it, it.remedy())).collect();
        let [(dead, voided), (operator, wish)] = barred;
        assert_eq!(known, [(0, dead, voided), (1, operator, wish), (2, operator, wish)]);
        assert!(!health.is_suspect(1), "nothing is to be found out");
    }

    #[test]
    fn what_is_known_of_a_session_that_has_gone_counts_only_if_it_comes_back() {
        let mut health = Health::new(2);
        assert_eq!(health.quarantine(Some(1), QuarantineReason::Suspect), 0b10);
        health.set_sessions(1);
        assert_eq!((health.gone(), health.withheld()), (!1, !1));
        assert_eq!((health.quarantines().count(), health.is_suspect(1)), (0, false));
        assert_eq!(health.quarantine(Some(1), QuarantineReason::Dead), 0);
        assert!(health.is_clean(0));
        health.set_sessions(0);
        assert_eq!(health.unready(), Some(Unready::NoSession));
        health.set_sessions(3);
        assert_eq!((health.unready(), health.withheld() & 0b111), (None, 0b010));
        assert!(health.is_suspect(1) && !health.is_clean(0));
    }

    #[test]
    fn a_cooldown_concerns_one_method_ends_by_itself_and_is_never_shortened() {
        let mut health = Health::new(1);
        health.cool_down(7, 100, 0);
        health.cool_down(7, 50, 0);
        assert_eq!(health.cooling_until(7, 99), Some(100));
        assert_eq!(health.cooling_until(7, 100), None);
        assert_eq!(health.cooling_until(8, 0), None);
        assert!(health.is_cooling(99) && !health.is_cooling(100));
    }

    #[test]
    fn a_session_is_deferred_until_its_time_and_by_itself() {
        let mut health = Health::new(3);
        assert_eq!(health.deferred(0), 0);
        health.defer(0, 100);
        health.defer(2, 50);
        health.defer(2, 60);
        assert_eq!([health.deferred(59), health.deferred(60), health.deferred(100)], [0b101, 1, 0]);
        assert_eq!((health.unready(), health.barred()), (None, 0));
        assert_eq!(health.first_deferral(0b111, 0), Some(60));
        assert_eq!((health.first_deferral(1, 60), health.first_deferral(4, 60)), (Some(100), None));
    }

    #[test]
    fn all_are_deferred_that_serve_or_none_is_said_to_be() {
        let mut health = Health::new(3);
        health.defer(0, 100);
        health.defer(2, 60);
        assert_eq!(health.all_deferred_until(0), None, "one may be dialled");
        health.quarantine(Some(1), QuarantineReason::NeedsLogin);
        assert_eq!(
            [0, 59, 60].map(|now| health.all_deferred_until(now)),
            [Some(60), Some(60), None]
        );
        health.quarantine(None, QuarantineReason::NeedsLogin);
        assert_eq!(health.all_deferred_until(0), None, "they are out of service");
    }

    #[test]
    fn the_number_of_remembered_cooldowns_is_bounded() {
        let mut health = Health::new(1);
        for key in 0..1000 {
            health.cool_down(key, 1000 + Tick::from(key), 0);
        }
        assert_eq!(health.all_cooldowns().len(), COOLDOWNS_MAX);
        assert_eq!(health.cooling_until(999, 0), Some(1999), "the longest rests are kept");
    }
}
