//! A line between a client and a data centre that can be cut, and that can keep the server's end of a
//! connection open after the client's is gone: what a broken network, a proxy or a lost machine does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    line: Arc<Line>,
}

struct Line {
    to: SocketAddr,
    /// How often it was cut. A connection belongs to the time in which it began.
    cuts: watch::Sender<u64>,
    keeps_open: AtomicBool,
}

/// Why a connection is carried no further.
enum End {
    Client,
    Server,
    Cut,
}

impl Relay {
    /// Passes on what comes, to a data centre.
    pub(crate) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = watch::Sender::new(0);
        let line = Arc::new(Line { to, cuts, keeps_open: AtomicBool::new(false) });
        let shared = Arc::clone(&line);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let line = Arc::clone(&shared);
                tokio::spawn(async move { line.carry(client).await });
            }
        });
        Self { address, line }
    }

    /// From now on nothing passes on the connections that there are, in either direction, and neither
    /// end learns of it. New ones are carried as before.
    pub(crate) fn cut(&self) {
        self.line.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// From now on the server learns nothing of a client that has closed its end.
    pub(crate) fn keep_servers_ends_open(&self) {
        self.line.keeps_open.store(true, Ordering::SeqCst);
    }
}

impl Line {
    async fn carry(&self, mut client: TcpStream) {
        let mut cuts = self.cuts.subscribe();
        let born = *cuts.borrow();
        let Ok(mut server) = TcpStream::connect(self.to).await else { return };
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let end = tokio::select! {
            () = pass(&mut from_client, &mut to_server) => End::Client,
            () = pass(&mut from_server, &mut to_client) => End::Server,
            _ = cuts.wait_for(|cuts| *cuts > born) => End::Cut,
        };
        let keeps_open = match end {
            End::Client => self.keeps_open.load(Ordering::SeqCst),
            End::Server => false,
            End::Cut => true,
        };
        if keeps_open {
            // Nothing that the server still says reaches anybody. Until it has closed its end.
            drop(tokio::io::copy(&mut from_server, &mut tokio::io::sink()).await);
        }
    }
}

/// Passes bytes on until there are no more.
async fn pass(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if to.write_all(&bytes[..count]).await.is_err() {
            break;
        }
    }
}
