//! Refusals: the server has not taken a packet, and says why.
//!
//! Owns what each of its codes means for the clock, the salts and the session, and what is sent again. Never
//! sends again what the server may have taken.

use super::WireLayer;
use super::notices::Service;
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
    /// The message is too old for the server to tell whether it has come before.
    TooOld,
    /// The numbers of the session are in disorder.
    Sequence,
    Salt,
    Container,
    Other,
}

impl RefusalCode {
    fn of(code: i32) -> Self {
        match code {
            16 => Self::ClockBehind,
            17 => Self::ClockAhead,
            20 => Self::TooOld,
            32..=35 => Self::Sequence,
            48 => Self::Salt,
            64 => Self::Container,
            _ => Self::Other,
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
        for sent in services {
            match sent.service {
                Service::Ping if self.pings.refused() > PINGS_REFUSED_MAX => {
                    return Err(Breach("every ping is refused").into());
                }
                Service::Ping => {}
                Service::FutureSalts => self.salts.ask_again(),
                about_messages => self.notices.put_again(about_messages),
            }
        }
        match meaning {
            RefusalCode::TooOld => self.give_up(&ids, code),
            _ => self.send_again(&ids, code),
        }
        // What was numbered so far is greater than all that the right time makes.
        let is_disordered = matches!(meaning, RefusalCode::ClockAhead | RefusalCode::Sequence);
        if is_disordered && is_current {
            self.renew_session();
        }
        Ok(())
    }

    /// Gives calls up that the server may have carried out.
    fn give_up(&mut self, ids: &[i64], code: i32) {
        for id in ids {
            if let Some(flight) = self.calls.take(*id) {
                self.fail(flight.call, WireError::Refused { code });
            }
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

    /// Begins a session anew, with numbers of its own.
    fn renew_session(&mut self) {
        let former = self.session.id;
        self.session.renew(self.random.i64(..));
        self.former_session = Some(former);
        self.is_introduced = self.introduction.is_empty();
        self.has_session = false;
        self.pings.send_now();
        // With answers to come of the former one it is left to the server to forget it.
        if !self.calls.are_in_flight() {
            self.notices.destroy_session(former);
        }
    }
}
