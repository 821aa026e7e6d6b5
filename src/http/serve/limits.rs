//! Limits of the HTTP server, with their defaults.

use std::time::Duration;

/// How much clients may take of the server, and for how long.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServeLimits {
    /// Connections in all, of which each takes a file descriptor. Whoever comes when all are taken waits in
    /// the backlog of the listener. At least 2. By default 320: 64 pages that stream, 136 that poll, and as
    /// many again for all else.
    pub connections_max: usize,
    /// How many of these are kept for the numbers: a connection that gets one of them is for one request,
    /// whose path must end in `/metrics`, `/healthz` or `/readyz`; any other is answered with 503. By default
    /// 16, and at most half of all.
    pub reserved_for_metrics: usize,
    /// Connections from one address (of IPv6 from one /64) beyond loopback; more are closed as they come.
    /// `None` where all come by way of a proxy. By default 64.
    pub connections_per_peer_max: Option<usize>,
    /// How long a connection may take from its first moment, or after an answer from the next byte, until the
    /// head of a request is there; the handshake of TLS is part of that. By default 10 seconds.
    pub head_timeout: Duration,
    /// How long a connection may stay without a request after an answer. By default 30 seconds.
    pub idle_timeout: Duration,
    /// How long a request may take from its head until the client has taken all of the answer. A stream of
    /// events (`text/event-stream`) is exempt. By default 30 seconds: three times as long as Prometheus waits
    /// for its answer by default.
    pub request_timeout: Duration,
    /// How long the client of a stream of events may take nothing of what is to be sent. By default 10
    /// seconds.
    pub write_timeout: Duration,
    /// The head of a request in bytes; a larger one is answered with 431. By default 16 KiB.
    pub head_max: usize,
    /// The body of a request in bytes; a larger one is answered with 413. By default 64 KiB.
    pub request_body_max: usize,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections_max: 320,
            reserved_for_metrics: 16,
            connections_per_peer_max: Some(64),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            head_max: 16 << 10,
            request_body_max: 64 << 10,
        }
    }
}
