//! Streams of server-sent events, as a client reads them.

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};

/// How long an event may be.
const EVENT_MAX: usize = 16 << 20;

/// An event of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerEvent {
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) data: String,
}

/// A stream of events.
pub(crate) struct EventStream {
    body: Incoming,
    parser: Parser,
}

impl EventStream {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, parser: Parser::default() }
    }

    /// Waits for the next event; `None` at the end of the stream, whatever has ended it.
    pub(crate) async fn next(&mut self) -> Option<ServerEvent> {
        loop {
            if let Some(event) = self.parser.next() {
                return Some(event);
            }
            let frame = self.body.frame().await?.ok()?;
            self.parser.push(&frame.into_data().unwrap_or_default())?;
        }
    }
}

/// What has come and was not read yet.
#[derive(Debug, Default)]
struct Parser {
    buffer: Vec<u8>,
    event: ServerEvent,
}

impl Parser {
    /// Takes what has come; `None` if that is more than an event may have.
    fn push(&mut self, bytes: &Bytes) -> Option<()> {
        self.buffer.extend_from_slice(bytes);
        (self.buffer.len() + self.event.data.len() <= EVENT_MAX).then_some(())
    }

    /// Returns the next event that has come as a whole.
    fn next(&mut self) -> Option<ServerEvent> {
        while let Some(end) = self.buffer.iter().position(|it| *it == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                if !event.data.is_empty() {
                    return Some(event);
                }
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "event" => value.clone_into(&mut self.event.kind),
                "id" => value.clone_into(&mut self.event.id),
                "data" => {
                    if !self.event.data.is_empty() {
                        self.event.data.push('\n');
                    }
                    self.event.data.push_str(value);
                }
                // A comment, or what is of no use here.
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text =
            ": hello\n\nid: 7\nevent: event\ndata: {\"a\":\ndata: 1}\n\n:\ndata:x\r\n\r\nid: 8\n";
        let expected = vec![
            ServerEvent { kind: "event".into(), id: "7".into(), data: "{\"a\":\n1}".into() },
            ServerEvent { data: "x".into(), ..ServerEvent::default() },
        ];
        for size in 1..text.len() {
            let (mut parser, mut events) = (Parser::default(), Vec::new());
            for part in text.as_bytes().chunks(size) {
                parser.push(&Bytes::copy_from_slice(part)).unwrap();
                events.extend(std::iter::from_fn(|| parser.next()));
            }
            assert_eq!(events, expected, "{size}");
        }
        let long = Bytes::from(vec![b'x'; EVENT_MAX + 1]);
        assert_eq!(Parser::default().push(&long), None, "nothing grows without an end");
    }
}
