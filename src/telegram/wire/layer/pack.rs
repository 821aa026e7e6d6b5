//! Packets: what waits, packed and encrypted.
//!
//! Owns the numbering and the order of messages in a packet. Never decides what is to be said.

use grammers_crypto::{DequeBuffer, encrypt_data_v2};

use super::WireLayer;
use super::calls::{Flight, WaitingCall};
use super::notices::{SentService, Service};
use crate::base::clock::Instant;
use crate::telegram::wire::limits::{PACKED_MAX, PACKET_LEN_MAX, SEVERAL_LEN_MAX};
use crate::telegram::wire::salts::ASKED;
use crate::telegram::wire::tl::{
    CONTAINER, DESTROY_SESSION, DROP_ANSWER, GET_FUTURE_SALTS, PING, PING_DELAY_DISCONNECT,
    STATE_REQUEST, constructor, short,
};

/// Message id, sequence number and length.
const MESSAGE_HEADER_LEN: usize = 16;
/// What is put in front at the end: salt and session, a container's own header and its count, the cipher's
/// header, and the frame's.
pub(in crate::telegram::wire) const FRONT_LEN: usize = 16 + 24 + 24 + 8;
/// What the cipher puts behind.
const PADDING_LEN: usize = 32;
/// What goes with calls, as a rule.
const COMPANY_LEN: usize = 256;
/// Calls leave at least so many bytes to the notices that wait.
const NOTICES_LEN_KEPT: usize = 512;

/// Messages of the protocol itself, before which no introduction stands.
const SERVICE: [u32; 6] =
    [PING, PING_DELAY_DISCONNECT, GET_FUTURE_SALTS, DROP_ANSWER, DESTROY_SESSION, STATE_REQUEST];
/// Those of them that want no acknowledgement.
const NOT_CONTENT: [u32; 4] = [PING, PING_DELAY_DISCONNECT, GET_FUTURE_SALTS, STATE_REQUEST];

/// A packet in the making.
struct Packing<T> {
    plain: DequeBuffer<u8>,
    count: usize,
    count_max: usize,
    /// The last message's.
    id: i64,
    flights: Vec<(i64, Flight<T>)>,
    /// Calls that go as they were.
    repeated: Vec<i64>,
    services: Vec<(i64, Service)>,
}

impl<T> Packing<T> {
    /// How long the body of the next message may be; 0 if there is no room for another. A long one goes with
    /// short ones at the most: others would have to wait until all of it has come, and so would its answer.
    fn room(&self) -> usize {
        match self.plain.len() <= COMPANY_LEN {
            true => self.room_up_to(PACKET_LEN_MAX),
            false => self.room_up_to(SEVERAL_LEN_MAX),
        }
    }

    /// The same for a notice. A short one goes even with a long call.
    fn room_for_notice(&self) -> usize {
        self.room().max(self.room_up_to(PACKET_LEN_MAX).min(NOTICES_LEN_KEPT))
    }

    fn room_up_to(&self, len_max: usize) -> usize {
        match self.count < self.count_max {
            true => len_max.saturating_sub(self.plain.len() + MESSAGE_HEADER_LEN),
            false => 0,
        }
    }

    fn put(&mut self, id: i64, sequence: u32, parts: [&[u8]; 2]) {
        self.plain.extend(id.to_le_bytes());
        self.plain.extend(sequence.to_le_bytes());
        self.plain.extend(short(parts[0].len() + parts[1].len()).to_le_bytes());
        parts.iter().for_each(|part| self.plain.extend(*part));
        self.count += 1;
        self.id = id;
    }
}

impl<T> WireLayer<T> {
    /// Packs and encrypts what is to be sent now, if anything is. In front of the packet there is room for its
    /// frame.
    pub(in crate::telegram::wire) fn poll_transmit(
        &mut self,
        now: Instant,
    ) -> Option<DequeBuffer<u8>> {
        if !self.wants_transmit() {
            return None;
        }
        let mut packing = self.packing();
        // A connection begins with it, so that the server ends what we can not.
        self.pack_ping(&mut packing, now);
        self.pack_repeats(&mut packing);
        self.pack_calls(&mut packing, now);
        self.pack_salts_request(&mut packing, now);
        self.pack_notices(&mut packing, now);
        if packing.count == 0 {
            return None;
        }
        Some(self.seal(packing, now))
    }

    fn packing(&self) -> Packing<T> {
        let each =
            MESSAGE_HEADER_LEN + if self.is_introduced { 0 } else { self.introduction.len() };
        let len = COMPANY_LEN + self.ready_len(each) + PADDING_LEN;
        Packing {
            plain: DequeBuffer::with_capacity(len, FRONT_LEN),
            count: 0,
            count_max: if self.is_single { 1 } else { PACKED_MAX },
            id: 0,
            flights: Vec::new(),
            repeated: Vec::new(),
            services: Vec::new(),
        }
    }

    /// How many bytes the calls come to that this packet may take.
    fn ready_len(&self, each: usize) -> usize {
        let flights_max = self.limits.calls_max.min(self.calls.flight_count() + PACKED_MAX);
        self.calls.ready_len(each, SEVERAL_LEN_MAX, flights_max)
    }

    fn pack_ping(&mut self, packing: &mut Packing<T>, now: Instant) {
        if !self.pings.is_due() {
            return;
        }
        let delay = i32::try_from(self.times.disconnect_seconds()).unwrap_or(i32::MAX);
        let mut body = [0; 16];
        body[..4].copy_from_slice(&PING_DELAY_DISCONNECT.to_le_bytes());
        body[4..12].copy_from_slice(&self.random.i64(..).to_le_bytes());
        body[12..].copy_from_slice(&delay.to_le_bytes());
        self.pack_service(packing, &body, (false, Some(Service::Ping)), now);
        self.pings.sent(now);
    }

    /// A message that is no call: whether it wants an acknowledgement, and what to keep of it.
    fn pack_service(
        &mut self,
        packing: &mut Packing<T>,
        body: &[u8],
        (is_content, keeps): (bool, Option<Service>),
        now: Instant,
    ) {
        let id = self.session.next_id(self.clock.time(now));
        packing.put(id, self.session.next_sequence(is_content), [body, &[]]);
        packing.services.extend(keeps.map(|service| (id, service)));
    }

    fn pack_repeats(&mut self, packing: &mut Packing<T>) {
        while let Some(id) = self.repeats.last().copied() {
            let session = self.session.number;
            if let Some(flight) = self.calls.flight(id).filter(|it| it.session == session) {
                let introduction = if flight.introduces { &self.introduction[..] } else { &[] };
                if introduction.len() + flight.call.body.len() > packing.room() {
                    return;
                }
                packing.put(id, flight.sequence, [introduction, &flight.call.body]);
                packing.repeated.push(id);
            }
            self.repeats.pop();
        }
        self.repeats = Vec::new();
    }

    fn pack_calls(&mut self, packing: &mut Packing<T>, now: Instant) {
        // What is to be told has its place, however many calls there are.
        let kept = match self.notices.len() {
            0 => 0,
            len => NOTICES_LEN_KEPT.min(len + 2 * MESSAGE_HEADER_LEN),
        };
        loop {
            let introduction = if self.is_introduced { 0 } else { self.introduction.len() };
            let room = packing.room().saturating_sub(introduction + kept);
            let flights_max = self.limits.calls_max.saturating_sub(packing.flights.len());
            let Some(call) = self.calls.pop_ready(room, flights_max) else { return };
            self.pack_call(packing, call, now);
        }
    }

    fn pack_call(&mut self, packing: &mut Packing<T>, call: WaitingCall<T>, now: Instant) {
        let method = constructor(&call.body);
        let introduces = !self.is_introduced && !SERVICE.contains(&method);
        let id = self.next_call_id(now);
        let sequence = self.session.next_sequence(!NOT_CONTENT.contains(&method));
        let introduction = if introduces { &self.introduction[..] } else { &[] };
        packing.put(id, sequence, [introduction, &call.body]);
        self.counts.calls_sent += 1;
        let (session, is_repeated) = (self.session.number, false);
        let flight = Flight { call, packet: id, sequence, session, introduces, is_repeated };
        packing.flights.push((id, flight));
    }

    /// A number that no call has: those of the session before were given by another clock.
    fn next_call_id(&mut self, now: Instant) -> i64 {
        let mut id = self.session.next_id(self.clock.time(now));
        while self.former_session.is_some() && self.calls.flight(id).is_some() {
            id = self.session.next_id(self.clock.time(now));
        }
        id
    }

    /// Salts are asked for in company: alone the question would cost a packet.
    fn pack_salts_request(&mut self, packing: &mut Packing<T>, now: Instant) {
        if packing.count > 0 && packing.room() >= 8 && self.salts.ask(self.clock.seconds(now), now)
        {
            let mut body = [0; 8];
            body[..4].copy_from_slice(&GET_FUTURE_SALTS.to_le_bytes());
            body[4..].copy_from_slice(&ASKED.to_le_bytes());
            self.pack_service(packing, &body, (false, Some(Service::FutureSalts)), now);
        }
    }

    fn pack_notices(&mut self, packing: &mut Packing<T>, now: Instant) {
        while let Some(((body, is_content, keeps), acks)) =
            self.notices.pop(packing.room_for_notice())
        {
            self.counts.acks_sent += acks as u64;
            self.pack_service(packing, &body, (is_content, keeps), now);
        }
    }

    /// Puts in front what stands there, encrypts, and keeps what was sent.
    fn seal(&mut self, packing: Packing<T>, now: Instant) -> DequeBuffer<u8> {
        let Packing { mut plain, count, id, flights, repeated, services, .. } = packing;
        let mut packet = id;
        if count > 1 {
            packet = self.session.next_id(self.clock.time(now));
            let mut header = [0; 24];
            header[..8].copy_from_slice(&packet.to_le_bytes());
            header[8..12].copy_from_slice(&self.session.next_sequence(false).to_le_bytes());
            header[12..16].copy_from_slice(&short(plain.len() + 8).to_le_bytes());
            header[16..20].copy_from_slice(&CONTAINER.to_le_bytes());
            header[20..].copy_from_slice(&short(count).to_le_bytes());
            plain.extend_front(&header);
        }
        let mut head = [0; 16];
        let salt = self.salts.current(self.clock.seconds(now));
        head[..8].copy_from_slice(&salt.to_le_bytes());
        head[8..].copy_from_slice(&self.session.id.to_le_bytes());
        plain.extend_front(&head);
        encrypt_data_v2(&mut plain, &self.key);
        for (id, flight) in flights {
            self.calls.insert(id, Flight { packet, ..flight });
        }
        for id in repeated {
            self.calls.moved(id, packet);
        }
        let session = self.session.number;
        for (id, service) in services {
            self.notices.keep(SentService { id, packet, session, service });
        }
        self.counts.packets_sent += 1;
        self.is_waiting = true;
        plain
    }
}
