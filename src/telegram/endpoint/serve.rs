//! Serving a client: its calls are passed on as they come, and their answers as they are there.
//!
//! Owns the socket, the calls under way and the answers that wait. Never repeats a call, and never orders the answers.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use grammers_crypto::DequeBuffer;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::door::EndpointLink;
use super::layer::SEVERAL_LEN_MAX;
use super::reply::{EndpointReply, reply_to};
use super::requests::EndpointRequest;
use crate::base::timer::after;
use crate::telegram::wire::WireError;

/// With so many calls under way nothing more is read.
const CALLS_MAX: usize = 1_024;

/// How long the calls may take whose answers have come, once the connection is lost.
const DRAIN_MAX: Duration = Duration::from_millis(100);

/// A packet on its way out.
struct Leaving {
    packet: DequeBuffer<u8>,
    written: usize,
}

/// Serves a client until either side is lost: its own, or the one that the calls are passed on to, which is so when
/// `ended` resolves or a call comes to that. The client is still told what its calls have come to by then.
pub(super) async fn serve<F, A>(link: EndpointLink, forward: F, ended: impl Future<Output = ()>)
where
    F: Fn(Vec<u8>) -> A,
    A: Future<Output = Result<Vec<u8>, WireError>> + Send + 'static,
{
    let (mut ended, mut is_ending) = (pin!(ended), false);
    let (mut drained, mut is_draining) = (pin!(tokio::time::sleep(DRAIN_MAX)), false);
    let EndpointLink { stream, mut layer, mut inbox, mut requests } = link;
    // Dropped, it ends those calls.
    let mut calls = JoinSet::new();
    let mut replies = VecDeque::new();
    let mut leaving = None;
    loop {
        for request in requests.drain(..) {
            match request {
                EndpointRequest::Service(reply) => replies.push_back(reply),
                EndpointRequest::Call { id, body } => {
                    let answered = forward(body);
                    drop(calls.spawn(async move { reply_to(id, answered.await).await }));
                }
            }
        }
        let mut waiting: usize = replies.iter().map(EndpointReply::len).sum();
        while waiting < SEVERAL_LEN_MAX
            && let Some(reply) = calls.try_join_next()
        {
            match reply {
                Ok(Some(reply)) => {
                    waiting += reply.len();
                    replies.push_back(reply);
                }
                _ => is_ending = true,
            }
        }
        if leaving.is_none() {
            let packet = layer.pack(&mut replies);
            leaving = packet.map(|packet| Leaving { packet, written: 0 });
        }
        if is_ending && leaving.is_none() && calls.is_empty() {
            return;
        }
        if is_ending && !std::mem::replace(&mut is_draining, true) {
            drained.as_mut().reset(after(DRAIN_MAX));
        }
        tokio::select! {
            () = &mut ended, if !is_ending => is_ending = true,
            () = drained.as_mut(), if is_draining => return,
            readable = stream.readable(), if !is_ending && calls.len() < CALLS_MAX => {
                let read = readable.and_then(|()| inbox.read(&stream, &mut layer, &mut requests));
                if read.is_err() {
                    return;
                }
            }
            writable = stream.writable(), if leaving.is_some() => {
                if writable.and_then(|()| write(&stream, &mut leaving)).is_err() {
                    return;
                }
            }
            Some(reply) = calls.join_next(), if waiting < SEVERAL_LEN_MAX => match reply {
                Ok(Some(reply)) => replies.push_back(reply),
                _ => is_ending = true,
            },
        }
    }
}

/// Writes what the socket takes.
fn write(stream: &TcpStream, leaving: &mut Option<Leaving>) -> io::Result<()> {
    let Some(Leaving { packet, written }) = leaving else { return Ok(()) };
    match stream.try_write(&packet[*written..]) {
        Ok(count) => *written += count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    if *written == packet.len() {
        *leaving = None;
    }
    Ok(())
}
