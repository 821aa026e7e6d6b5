//! Where `telepool serve` listens, and whom it lets in: TLS, tokens, proxies, and the socket of this machine's
//! own commands.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::command::{fresh, run};
use crate::serving::Run;

const RUN: [&str; 3] = ["serve", "--sandbox", "--accounts=3"];

/// A run that listens where everybody could reach it, and its port.
fn start(more: &[&str]) -> (Run, String) {
    let mut run = Run::small(&[&["--listen=0.0.0.0:0"], more].concat());
    let told = run.until("metrics on http");
    let port = told.split("0.0.0.0:").nth(1).unwrap().split('/').next().unwrap().to_owned();
    (run, port)
}

/// A certificate of its own for localhost, and its key.
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    pub(crate) fn make(name: &str) -> Self {
        Self::make_with(name, "basicConstraints=critical,CA:FALSE")
    }

    pub(crate) fn make_with(name: &str, extension: &str) -> Self {
        let pair =
            Self { certificate: fresh(&format!("{name}.pem")), key: fresh(&format!("{name}.key")) };
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ])
            .args(["-days", "2", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .args(["-addext", extension])
            .args(["-subj", &format!("/CN={name}"), "-out"])
            .arg(&pair.certificate)
            .arg("-keyout")
            .arg(&pair.key)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        pair
    }

    pub(crate) fn flags(&self) -> [String; 2] {
        [
            format!("--tls-cert={}", self.certificate.display()),
            format!("--tls-key={}", self.key.display()),
        ]
    }

    /// Asks a server whose certificate is trusted if it is this one.
    fn ask(&self, port: &str, path: &str, headers: &str) -> String {
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", "-servername", "localhost"])
            .args(["-connect", &format!("127.0.0.1:{port}"), "-CAfile"])
            .arg(&self.certificate)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let request = request(path, headers);
        client.stdin.take().unwrap().write_all(request.as_bytes()).ok();
        let output = client.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        fs::remove_file(&self.certificate).ok();
        fs::remove_file(&self.key).ok();
    }
}

fn request(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
}

fn ask(mut stream: impl Read + Write, path: &str, headers: &str) -> String {
    stream.write_all(request(path, headers).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn over(socket: &Path, path: &str) -> String {
    ask(UnixStream::connect(socket).unwrap(), path, "")
}

/// A file with a token for reads, and the header that shows it.
fn token(name: &str) -> (PathBuf, String) {
    let file = fresh(name);
    let path = file.to_str().unwrap();
    let (code, token, stderr) =
        run(&["token", "create", "--file", path, "--name=reader", "--scope=read"]);
    assert_eq!(code, Some(0), "{stderr}");
    (file, format!("Authorization: Bearer {}\r\n", token.trim()))
}

fn is(answer: &str, status: u16) -> bool {
    answer.starts_with(&format!("HTTP/1.1 {status}"))
}

#[test]
fn over_tls_a_token_reads_and_a_new_certificate_is_taken_up_by_a_running_server() {
    let (tokens, shows) = token("tls-tokens.jsonl");
    let (first, second) = (Pair::make("first"), Pair::make("second"));
    let [certificate, key] = first.flags();
    let tokens_flag = format!("--tokens={}", tokens.display());
    let (mut run, port) = start(&[&tokens_flag, &certificate, &key]);
    let numbers = first.ask(&port, "/metrics", &shows);
    assert!(is(&numbers, 200) && numbers.contains("\ntelepool_acquires_total{"), "{numbers}");
    assert!(is(&first.ask(&port, "/metrics", ""), 401));
    assert!(is(&first.ask(&port, "/healthz", ""), 200), "whether it lives is no secret");
    assert_eq!(second.ask(&port, "/healthz", ""), "", "its certificate is another one");
    // In plain text nobody is answered.
    let mut plain = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    plain.write_all(request("/healthz", "").as_bytes()).unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).ok();
    assert!(!answer.windows(4).any(|it| it == b"HTTP"), "{answer:?}");

    // A key that belongs to another certificate changes nothing, and is told with what to do.
    fs::copy(&second.key, &first.key).unwrap();
    let told = run.until("is not the key of --tls-cert");
    assert!(told.contains("give the pair that was made together"), "{told}");
    assert!(told.contains("served on"), "{told}");
    assert!(is(&first.ask(&port, "/healthz", ""), 200));
    // With its certificate it does.
    fs::copy(&second.certificate, &first.certificate).unwrap();
    let renewed = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        is(&second.ask(&port, "/healthz", ""), 200)
    });
    assert!(renewed, "the new certificate is served");
    run.signal("-TERM");
    assert_eq!(run.end().0, Some(0));
    fs::remove_file(tokens).unwrap();
}

#[test]
fn behind_a_proxy_everybody_shows_a_token_and_asks_by_a_name_that_was_allowed() {
    let (tokens, shows) = token("proxy-tokens.jsonl");
    let tokens_flag = format!("--tokens={}", tokens.display());
    let (run, port) =
        start(&[&tokens_flag, "--plaintext-behind-proxy", "--allow-host=telepool.example.org"]);
    let address = format!("127.0.0.1:{port}");
    let get = |headers: &str| ask(TcpStream::connect(&address).unwrap(), "/metrics", headers);
    assert!(is(&get(""), 401), "although it is on this machine");
    assert!(is(&get(&shows), 200));
    for (host, status) in [("telepool.example.org", 200), ("evil.example.org", 403)] {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{shows}\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(is(&answer, status), "{host}: {answer}");
    }
    run.signal("-TERM");
    assert_eq!(run.end().0, Some(0));
    fs::remove_file(tokens).unwrap();
}

#[test]
fn what_would_let_others_in_or_cannot_be_read_is_refused_with_what_would_do() {
    let (tokens, _) = token("refused-tokens.jsonl");
    let pair = Pair::make("refused");
    let other = Pair::make("other");
    let [certificate, key] = pair.flags();
    let [_, other_key] = other.flags();
    let tokens_flag = format!("--tokens={}", tokens.display());
    let open = "--listen=0.0.0.0:0";
    let key_as_certificate = format!("--tls-cert={}", pair.key.display());
    let exposed = fresh("exposed-tokens.jsonl");
    fs::write(&exposed, "").unwrap();
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o644)).unwrap();
    let exposed_flag = format!("--tokens={}", exposed.display());
    for (flags, words) in [
        (vec![open], "give --tokens FILE"),
        (vec!["--listen=[::]:0"], "give --tokens FILE"),
        (vec!["--listen=192.0.2.1:9464"], "unix:/run/telepool/http.sock"),
        (vec![open, &tokens_flag], "--plaintext-behind-proxy"),
        (vec![open, &certificate, &key], "give --tokens FILE"),
        (vec![open, "--plaintext-behind-proxy"], "--tokens"),
        (vec!["--require-token"], "--tokens"),
        (vec!["--tls-cert=/dev/zero", &key], "it is a device"),
        (vec![open, &tokens_flag, &certificate], "--tls-key"),
        (vec![&tokens_flag, &certificate, &key, "--plaintext-behind-proxy"], "cannot be used with"),
        (vec![&tokens_flag, &certificate, &other_key], "is not the key of --tls-cert"),
        (vec![&tokens_flag, &key_as_certificate, &key], "give a certificate in PEM"),
        (vec!["--tls-cert=/none", &key], "--tls-cert /none"),
        (vec!["--listen=unix:/tmp/x.sock", &certificate, &key], "takes no TLS"),
        (vec!["--tokens=/none/tokens"], "--tokens /none/tokens"),
        (vec![&exposed_flag], "chmod 600"),
        (vec!["--allow-host=http://x/"], "--allow-host"),
        (vec!["--listen=127.0.0.1:0", "--socket=/none/x.sock"], "in a folder that is there"),
    ] {
        let (code, stdout, stderr) = run(&[&RUN[..], &flags].concat());
        assert_eq!(code, Some(2), "{flags:?}: {stderr}");
        assert!(stderr.contains(words) && stdout.is_empty(), "{flags:?}: {stderr}");
    }
    fs::remove_file(tokens).unwrap();
    fs::remove_file(exposed).unwrap();
}

#[test]
fn the_socket_of_a_run_serves_its_user_without_a_token_and_nobody_else() {
    let folder = std::env::temp_dir().join(format!("telepool-socket-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let socket = folder.join("run.sock");
    let (tokens, _) = token("socket-tokens.jsonl");
    let flags = [
        "--listen=127.0.0.1:0".to_owned(),
        format!("--tokens={}", tokens.display()),
        format!("--socket={}", socket.display()),
    ];
    let flags = flags.each_ref().map(String::as_str);
    let mut first = Run::small(&flags);
    assert!(first.until("reach it by --socket").contains(socket.to_str().unwrap()));
    first.until("metrics on ");
    let found = fs::symlink_metadata(&socket).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    assert!(over(&socket, "/metrics").contains("\ntelepool_acquires_total{"));
    let user = Command::new("id").arg("-u").output().unwrap().stdout;
    if user == b"0\n" {
        // Even where the file lets another user in, the run does not.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
        let answer = Command::new("setpriv")
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "curl",
                "-sS",
                "--unix-socket",
            ])
            .arg(&socket)
            .arg("http://localhost/healthz")
            .output()
            .unwrap();
        assert!(!answer.status.success() && answer.stdout.is_empty(), "{answer:?}");
        first.until("user 65534 was refused at the socket");
        assert!(is(&over(&socket, "/healthz"), 200));
    }
    // Whoever comes second leaves it alone.
    let (code, _, stderr) = run(&[&RUN[..], &flags].concat());
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("another process listens there"), "{stderr}");
    // One that is killed leaves its socket, and the next run takes its place.
    first.signal("-KILL");
    drop(first);
    assert!(socket.exists());
    let mut second = Run::small(&flags);
    second.until("metrics on ");
    assert!(is(&over(&socket, "/healthz"), 200));
    // A stream that nobody ends, and a client that says nothing, hold nobody up.
    let _silent = UnixStream::connect(&socket).unwrap();
    second.signal("-TERM");
    assert_eq!(second.end().0, Some(0));
    assert!(!socket.exists(), "a run that ends in order removes it");
    fs::remove_file(tokens).unwrap();
    fs::remove_dir_all(folder).unwrap();
}
