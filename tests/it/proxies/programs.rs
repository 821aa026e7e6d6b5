//! The proxies that people run: microsocks, dante and tinyproxy, as Debian has them.
//!
//! Microsocks and tinyproxy make their own connections from 127.0.0.2 and the like, so that the data centre sees
//! who has come by them. Dante takes the address of the interface.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use super::*;

/// Ways to run a proxy.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Microsocks,
    MicrosocksWithLogin,
    Dante,
    Tinyproxy,
    TinyproxyWithLogin,
}

use Kind::{Dante, Microsocks, MicrosocksWithLogin, Tinyproxy, TinyproxyWithLogin};

/// A proxy that runs, in a group of processes of its own, or is down.
struct Program {
    kind: Kind,
    /// Where its own connections leave from.
    leaves: &'static str,
    port: u16,
    child: Option<Child>,
}

impl Program {
    /// One that is down.
    fn down(kind: Kind, leaves: &'static str) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        Self { kind, leaves, port, child: None }
    }

    fn up(kind: Kind, leaves: &'static str) -> Self {
        let mut program = Self::down(kind, leaves);
        program.start();
        program
    }

    fn start(&mut self) {
        let (port, leaves) = (self.port, self.leaves);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = match self.kind {
            Microsocks | MicrosocksWithLogin => String::new(),
            Dante => format!(
                "logoutput: /dev/null\ninternal: 127.0.0.1 port = {port}\nexternal: lo\n\
                 clientmethod: none\nsocksmethod: none\nuser.unprivileged: nobody\n\
                 client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n\
                 socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n"
            ),
            Tinyproxy | TinyproxyWithLogin => {
                let login = match self.kind {
                    TinyproxyWithLogin => "BasicAuth om p4ss\n",
                    _ => "",
                };
                format!("Port {port}\nListen 127.0.0.1\nBind {leaves}\nAllow 127.0.0.1\n{login}")
            }
        };
        file.write_all(text.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        let port = port.to_string();
        let (name, arguments) = match self.kind {
            Microsocks => ("microsocks", vec!["-i", "127.0.0.1", "-p", &port, "-b", leaves]),
            MicrosocksWithLogin => {
                let login = ["-u", "om", "-P", "p@ss"];
                let plain = ["-i", "127.0.0.1", "-p", &port, "-b", leaves];
                ("microsocks", [&plain[..], &login].concat())
            }
            Dante => ("/usr/sbin/danted", vec!["-f", path]),
            Tinyproxy | TinyproxyWithLogin => ("tinyproxy", vec!["-d", "-c", path]),
        };
        let mut command = Command::new(name);
        command.args(arguments).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{name} of Debian: {error}")));
        // It has read its file once it listens.
        for _ in 0..1_000 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{name} does not listen");
    }

    /// Kills it, with whatever processes it has started.
    fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let group = format!("-{}", child.id());
        drop(Command::new("kill").args(["-KILL", "--", &group]).status());
        drop(child.wait());
    }

    fn url(&self, login: &str) -> String {
        let scheme = match self.kind {
            Microsocks | MicrosocksWithLogin | Dante => "socks5",
            Tinyproxy | TinyproxyWithLogin => "http",
        };
        format!("{scheme}://{login}{}", SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))
    }

    /// As those write it who may use it.
    fn right_url(&self) -> String {
        self.url(match self.kind {
            MicrosocksWithLogin => "om:p%40ss@",
            TinyproxyWithLogin => "om:p4ss@",
            Microsocks | Dante | Tinyproxy => "",
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Acquires an account that comes back by and by, and calls.
async fn serves_again(pool: &World, account: AccountId) {
    for _ in 0..600 {
        // Whatever pause it was given: that is not what is tested.
        pool.reinstate(account);
        if let Ok(lease) = pool.acquire(account).await {
            return call(&lease).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never served again");
}

#[tokio::test]
#[ignore = "needs microsocks, dante and tinyproxy; `.ci/run` has a step for it"]
async fn an_account_behind_each_program_acquires_calls_and_closes() {
    for kind in [Microsocks, MicrosocksWithLogin, Dante, Tinyproxy, TinyproxyWithLogin] {
        let data_centre = data_centre().await;
        let from = if matches!(kind, Dante) { "127.0.0.1" } else { "127.0.0.2" };
        let program = Program::up(kind, from);
        let url = program.right_url();
        let mut settings = settings();
        // The end of each is heard, so that none rests.
        settings.redial_after_loss = Duration::from_secs(600);
        let pool = pool_of(sessions(&data_centre, &[&url, &url, ""]), settings);
        for _ in 0..2 {
            for number in 1..=3 {
                let lease = pool.acquire(bot(number)).await;
                let lease = lease.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
                for _ in 0..20 {
                    call(&lease).await;
                }
                lease.close().await;
            }
        }
        for number in [1, 2] {
            assert_eq!(data_centre.client_addresses(bot(number)), [ip(from)], "{kind:?}");
        }
        assert_eq!(data_centre.client_addresses(bot(3)), [ip("127.0.0.1")]);
        ends_well(&pool, &data_centre).await;
    }
}

#[tokio::test]
#[ignore = "needs microsocks and tinyproxy; `.ci/run` has a step for it"]
async fn a_wrong_password_is_told_by_each_program_that_asks_for_one() {
    for kind in [MicrosocksWithLogin, TinyproxyWithLogin] {
        let data_centre = data_centre().await;
        let program = Program::up(kind, "127.0.0.2");
        let (wrong, none) = (program.url("om:s3cret@"), program.url(""));
        let pool =
            pool_of(sessions(&data_centre, &[&wrong, &none, &program.right_url()]), settings());
        let error = pool.acquire(bot(1)).await.unwrap_err();
        assert!(matches!(problem(&error), ProxyProblem::Credentials), "{kind:?}: {error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
        let error = pool.acquire(bot(2)).await.unwrap_err();
        assert!(matches!(problem(&error), ProxyProblem::CredentialsWanted), "{kind:?}: {error}");
        call(&pool.acquire(bot(3)).await.unwrap()).await;
        ends_well(&pool, &data_centre).await;
        assert!(data_centre.client_addresses(bot(1)).is_empty(), "never without it");
    }
}

#[tokio::test]
#[ignore = "needs microsocks, dante and tinyproxy; `.ci/run` has a step for it"]
async fn a_data_centre_that_a_program_cannot_reach_is_told_apart_from_the_program() {
    for kind in [Microsocks, Dante, Tinyproxy] {
        let data_centre = data_centre().await;
        let program = Program::up(kind, "127.0.0.2");
        let mut records = sessions(&data_centre, &[&program.right_url()]);
        // Nobody listens there.
        records[0].address = "127.0.0.1:1".parse().unwrap();
        let pool = pool_of(records, settings());
        let error = pool.acquire(bot(1)).await.unwrap_err();
        assert!(matches!(problem(&error), ProxyProblem::Target(_)), "{kind:?}: {error}");
        ends_well(&pool, &data_centre).await;
    }
}

#[tokio::test]
#[ignore = "needs microsocks, dante and tinyproxy; `.ci/run` has a step for it"]
async fn a_program_that_is_down_at_first_serves_as_soon_as_it_runs() {
    for kind in [Microsocks, Dante, Tinyproxy] {
        let data_centre = data_centre().await;
        let from = if matches!(kind, Dante) { "127.0.0.1" } else { "127.0.0.2" };
        let mut program = Program::down(kind, from);
        let pool = pool_of(sessions(&data_centre, &[&program.right_url(), ""]), settings());
        let error = pool.acquire(bot(1)).await.unwrap_err();
        assert!(matches!(problem(&error), ProxyProblem::Unreachable(_)), "{kind:?}: {error}");
        call(&pool.acquire(bot(2)).await.unwrap()).await;
        assert_eq!(data_centre.stats().connections_total, 1, "{kind:?}: that of the other account");
        program.start();
        serves_again(&pool, bot(1)).await;
        assert_eq!(data_centre.client_addresses(bot(1)), [ip(from)], "{kind:?}");
        ends_well(&pool, &data_centre).await;
    }
}

#[tokio::test]
#[ignore = "needs microsocks, dante and tinyproxy; `.ci/run` has a step for it"]
async fn a_program_that_is_killed_costs_its_own_accounts_alone_until_it_runs_again() {
    for kind in [Microsocks, Dante, Tinyproxy] {
        let data_centre = data_centre().await;
        let from = if matches!(kind, Dante) { "127.0.0.1" } else { "127.0.0.2" };
        let mut killed = Program::up(kind, from);
        let spared = Program::up(Microsocks, "127.0.0.4");
        let ways = [killed.right_url(), killed.right_url(), spared.right_url()];
        let ways = [&*ways[0], &ways[1], &ways[2], "", "bind://127.0.0.3"];
        let pool = pool_of(sessions(&data_centre, &ways), settings());
        let mut leases = Vec::new();
        for number in 1..=5 {
            let lease = pool.acquire(bot(number)).await.unwrap();
            call(&lease).await;
            leases.push(lease);
        }
        killed.kill();
        let dialled = data_centre.stats().connections_total;
        for lease in leases.drain(..2) {
            lease.invoke(&myself()).await.unwrap_err();
        }
        for lease in &leases {
            call(lease).await;
        }
        for number in [1, 2] {
            let error = pool.acquire(bot(number)).await.unwrap_err().to_string();
            assert!(error.contains("the proxy") || error.contains("rests"), "{kind:?}: {error}");
        }
        assert_eq!(
            data_centre.stats().connections_total,
            dialled,
            "{kind:?}: nobody came directly"
        );
        killed.start();
        for number in [1, 2] {
            serves_again(&pool, bot(number)).await;
            assert_eq!(data_centre.client_addresses(bot(number)), [ip(from)], "{kind:?}");
        }
        for (lease, from) in leases.iter().zip(["127.0.0.4", "127.0.0.1", "127.0.0.3"]) {
            call(lease).await;
            assert_eq!(data_centre.client_addresses(lease.account()), [ip(from)]);
        }
        drop(leases);
        ends_well(&pool, &data_centre).await;
    }
}
