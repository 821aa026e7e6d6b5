//! Refusals: the server has not taken a packet, and says why.
//!
//! Owns what each of its codes means for the clock, the salts and the session, and what is sent again. Never
//! sends again what the server may have taken.
//!
//! # Another session
//! After some codes no number of the session is taken any more. As long as the server has taken nothing at all,
//! the session is begun anew: it knows of none. Later it would be a second session of the key, beside one that
//! lives, and may cost the key: the connection ends instead, and the next one begins with what was learnt.

use super::WireLayer;
use super::notices::{SentService, Service};
use crate::base::clock::Instant;
use crate::telegram::wire::error::{Breach, WireEnd, WireError};
use crate::telegram::wire::session::second_of;
use crate::telegram::wire::tl::WireReader;

/// So many packets in a row may be refused: some are under way when the first refusal comes.
const REFUSALS_MAX: u32 = 1_024;
/// And so many pings, which go again at once.
const PINGS_REFUSED_MAX: u32 = 16;

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RefusalCode {
    /// Our clock is behind the server's.
    ClockBehind,
    /// It is ahead.
    ClockAhead,
    /// The numbers of the session are in disorder.
    Sequence,
    Salt,
    Container,
    /// A number that no message has, or that another has had.
    Number,
    /// The message is too old for the server to tell whether it has come before, or nobody knows what it means.
    Unclear,
}

impl RefusalCode {
    fn of(code: i32) -> Self {
        match code {
            16 => Self::ClockBehind,
            17 => Self::ClockAhead,
            18 | 19 => Self::Number,
            32..=35 => Self::Sequence,
            48 => Self::Salt,
            64 => Self::Container,
            _ => Self::Unclear,
        }
    }
}

impl<T> WireLayer<T> {
    /// Handles `bad_msg_notification` or, with a salt, `bad_server_salt`: what follows the constructor.
    pub(super) fn handle_refusal(
        &mut self,
        notice: i64,
        mut body: WireReader<'_>,
        has_salt: bool,
        now: Instant,
    ) -> Result<(), WireEnd> {
        let (refused, _sequence, code) = (body.long()?, body.word()?, body.int()?);
        let meaning = if has_salt { RefusalCode::Salt } else { RefusalCode::of(code) };
        self.counts.refused_packets += 1;
        self.refusals += 1;
        if self.refusals > REFUSALS_MAX {
            return Err(Breach("every packet is refused").into());
        }
        let (ids, services) = (self.calls.of_packet(refused), self.notices.refused(refused));
        // Whatever is refused of the session before says nothing of this one.
        let number = self.session.number;
        let is_current = services.iter().any(|it| it.session == number)
            || ids.iter().any(|id| self.calls.flight(*id).is_some_and(|it| it.session == number));
        match meaning {
            RefusalCode::ClockBehind | RefusalCode::ClockAhead => {
                self.clock.set(second_of(notice), now);
                self.note_memory();
            }
            RefusalCode::Salt if has_salt => {
                let (salt, seconds) = (body.long()?, self.clock.seconds(now));
                self.salts.tell(salt, seconds, true);
                self.note_memory();
            }
            RefusalCode::Container => self.is_single = true,
            _ => {}
        }
        self.put_services_again(services)?;
        self.put_calls_again(&ids, meaning, code);
        // What was numbered so far is greater than all that the right time makes.
        let is_disordered = matches!(meaning, RefusalCode::ClockAhead | RefusalCode::Sequence);
        match is_disordered && is_current {
            true if self.is_taken => Err(WireEnd::Disordered { code }),
            true => {
                self.renew_session();
                Ok(())
            }
            false => Ok(()),
        }
    }

    fn put_services_again(&mut self, services: Vec<SentService>) -> Result<(), Breach> {
        for sent in services {
            match sent.service {
                Service::Ping if self.pings.refused() > PINGS_REFUSED_MAX => {
                    return Err(Breach("every ping is refused"));
                }
                Service::Ping => {}
                Service::FutureSalts => self.salts.ask_again(),
                about_messages => self.notices.put_again(about_messages),
            }
        }
        Ok(())
    }

    fn put_calls_again(&mut self, ids: &[i64], meaning: RefusalCode, code: i32) {
        let is_repeated =
            |id: &i64| self.calls.flight(*id).is_some_and(|flight| flight.is_repeated);
        let (repeated, once): (Vec<i64>, Vec<i64>) = ids.iter().partition(|id| is_repeated(id));
        let takes_the_same = matches!(meaning, RefusalCode::Salt | RefusalCode::Container);
        for id in repeated {
            // The server has not taken this copy. Of the one before it has not said so: under another number
            // the call might be carried out twice.
            let may_go = takes_the_same
                && self.calls.flight(id).is_some_and(|it| it.session == self.session.number)
                && self.calls.count_resend(id, self.limits.resends_max);
            if may_go {
                self.repeat(id);
            } else if let Some(flight) = self.calls.take(id) {
                self.fail(flight.call, WireError::Forgotten);
            }
        }
        match meaning {
            RefusalCode::Unclear => self.give_up(&once, code),
            _ => self.send_again(&once, code),
        }
    }

    /// Gives calls up that the server may have carried out.
    fn give_up(&mut self, ids: &[i64], code: i32) {
        for id in ids {
            if let Some(flight) = self.calls.take(*id) {
                self.fail(flight.call, WireError::Refused { code });
            }
        }
    }

    /// Has a message sent once more, as it was.
    pub(super) fn repeat(&mut self, id: i64) {
        if !self.repeats.contains(&id) {
            self.repeats.push(id);
        }
    }

    /// Puts calls to the front that the server has not taken.
    pub(super) fn send_again(&mut self, ids: &[i64], code: i32) {
        let spent = self.calls.send_again(ids, self.limits.resends_max);
        self.counts.resends += (ids.len() - spent.len()) as u64;
        for call in spent {
            self.fail(call, WireError::Refused { code });
        }
    }

    /// Begins a session anew, with numbers of its own. Nothing is left of what was to be said in the one before.
    fn renew_session(&mut self) {
        self.former_session = Some(self.session.id);
        self.session.renew(self.random.i64(..));
        self.is_introduced = self.introduction.is_empty();
        self.has_session = false;
        self.repeats = Vec::new();
        self.notices.begin_session();
        self.pings.send_now();
    }
}
