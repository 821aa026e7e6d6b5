//! A SOCKS5 proxy that tells what it does, and that can be told to do it badly.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

pub(super) struct Socks {
    pub(super) address: SocketAddr,
    state: Arc<State>,
    stop: watch::Sender<bool>,
}

struct State {
    /// Where its own connections leave from.
    leaves: Ipv4Addr,
    login: Option<(&'static str, &'static str)>,
    keeps_open: AtomicBool,
    open: AtomicU32,
    carried: Mutex<Vec<SocketAddr>>,
    forbidden: Mutex<HashSet<SocketAddr>>,
}

impl Socks {
    pub(super) async fn start(leaves: &str, login: Option<(&'static str, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            leaves: leaves.parse().unwrap(),
            login,
            keeps_open: AtomicBool::new(false),
            open: AtomicU32::new(0),
            carried: Mutex::default(),
            forbidden: Mutex::default(),
        });
        let stop = watch::Sender::new(false);
        let (shared, mut stopped) = (Arc::clone(&state), stop.subscribe());
        tokio::spawn(async move {
            loop {
                let client = tokio::select! {
                    _ = stopped.wait_for(|stop| *stop) => return,
                    client = listener.accept() => client.unwrap().0,
                };
                let (state, mut stopped) = (Arc::clone(&shared), stopped.clone());
                tokio::spawn(async move {
                    state.open.fetch_add(1, Ordering::SeqCst);
                    tokio::select! {
                        _ = stopped.wait_for(|stop| *stop) => {}
                        _ = state.serve(client) => {}
                    }
                    state.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, state, stop }
    }

    /// Closes everything at once.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// From now on the server learns nothing of a client that has closed its side, nor the client of that.
    pub(super) fn keep_servers_ends_open(&self) {
        self.state.keeps_open.store(true, Ordering::SeqCst);
    }

    pub(super) fn forbid(&self, target: SocketAddr) {
        self.state.forbidden.lock().unwrap().insert(target);
    }

    /// How many clients there are.
    pub(super) fn open(&self) -> u32 {
        self.state.open.load(Ordering::SeqCst)
    }

    /// How many connections it has made.
    pub(super) fn carried(&self) -> u32 {
        u32::try_from(self.state.carried.lock().unwrap().len()).unwrap()
    }

    pub(super) fn carried_to(&self, target: SocketAddr) -> usize {
        self.state.carried.lock().unwrap().iter().filter(|it| **it == target).count()
    }
}

impl Drop for Socks {
    fn drop(&mut self) {
        self.stop();
    }
}

impl State {
    async fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        let methods = usize::from(read::<2>(&mut client).await?[1]);
        let mut offered = vec![0; methods];
        client.read_exact(&mut offered).await?;
        let method = if self.login.is_some() { 2 } else { 0 };
        if !offered.contains(&method) {
            return client.write_all(&[5, 0xff]).await;
        }
        client.write_all(&[5, method]).await?;
        if let Some((user, password)) = self.login {
            let [_version, count] = read::<2>(&mut client).await?;
            let mut shown = vec![0; usize::from(count)];
            client.read_exact(&mut shown).await?;
            let is_user = shown == user.as_bytes();
            let mut shown = vec![0; usize::from(client.read_u8().await?)];
            client.read_exact(&mut shown).await?;
            let is_right = is_user && shown == password.as_bytes();
            client.write_all(&[1, u8::from(!is_right)]).await?;
            if !is_right {
                return Ok(());
            }
        }
        let [5, 1, 0, 1, a, b, c, d, high, low] = read::<10>(&mut client).await? else {
            return Ok(());
        };
        let target = SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low])));
        let reply = |code| [5, code, 0, 1, 0, 0, 0, 0, 0, 0];
        if self.forbidden.lock().unwrap().contains(&target) {
            return client.write_all(&reply(2)).await;
        }
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.leaves, 0).into())?;
        let Ok(server) = socket.connect(target).await else {
            return client.write_all(&reply(5)).await;
        };
        self.carried.lock().unwrap().push(target);
        client.write_all(&reply(0)).await?;
        self.carry(client, server).await
    }

    async fn carry(&self, mut client: TcpStream, mut server: TcpStream) -> std::io::Result<()> {
        server.set_nodelay(true)?;
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let is_clients = tokio::select! {
            _ = tokio::io::copy(&mut from_client, &mut to_server) => true,
            _ = tokio::io::copy(&mut from_server, &mut to_client) => false,
        };
        if is_clients && self.keeps_open.load(Ordering::SeqCst) {
            std::future::pending().await
        }
        Ok(())
    }
}

async fn read<const N: usize>(stream: &mut TcpStream) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}
