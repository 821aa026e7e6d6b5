//! Dials against proxies that do as they should, and against such that refuse, talk nonsense, stop in the
//! middle or say nothing.

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::*;

const TARGET: &str = "192.0.2.9:443";
const LIMIT: Duration = Duration::from_secs(8);

/// What a proxy does, in this order; then it closes.
enum Act {
    /// Waits for so many bytes.
    Hear(usize),
    /// Waits for the end of a head.
    HearHead,
    Say(Vec<u8>),
    /// The same byte by byte.
    Spell(Vec<u8>),
    /// Waits until the client closes.
    Wait,
}

use Act::{Hear, HearHead, Say, Spell, Wait};

/// A proxy that does so once. Returns its port, and what it has heard in the end.
async fn fake(acts: Vec<Act>) -> (u16, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Handle::current().spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        for act in acts {
            match act {
                Hear(count) => {
                    let mut bytes = vec![0; count];
                    stream.read_exact(&mut bytes).await.unwrap();
                    heard.extend(bytes);
                }
                HearHead => {
                    while !heard.ends_with(HEAD_END) {
                        heard.push(stream.read_u8().await.unwrap());
                    }
                }
                Say(bytes) => stream.write_all(&bytes).await.unwrap(),
                Spell(bytes) => {
                    stream.set_nodelay(true).unwrap();
                    for byte in bytes {
                        stream.write_all(&[byte]).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                }
                Wait => drop(stream.read_to_end(&mut heard).await),
            }
        }
        heard
    });
    (port, heard)
}

/// Dials by a proxy of this kind, and says one thing over the connection if there is one. Returns what the
/// proxy has heard as well.
async fn dial_by(scheme: &str, login: &str, acts: Vec<Act>) -> (Result<(), ProxyError>, Vec<u8>) {
    let (port, heard) = fake(acts).await;
    let url = format!("{scheme}://{login}127.0.0.1:{port}");
    let dialled = match dial(&url.parse().unwrap(), TARGET.parse().unwrap(), LIMIT).await {
        Ok(mut stream) => {
            assert!(stream.nodelay().unwrap());
            stream.write_all(b"!").await.unwrap();
            Ok(())
        }
        Err(error) => {
            let told = error.to_string();
            assert!(told.contains(&format!("127.0.0.1:{port} ")), "{told}");
            assert!(!told.contains("s3cret") && !told.contains("om:"), "{told}");
            Err(error)
        }
    };
    // One that the client has left in the middle may have been about to say something.
    (dialled, heard.await.unwrap_or_default())
}

fn socks_reply(code: u8) -> Vec<u8> {
    vec![5, code, 0, 1, 127, 0, 0, 1, 0, 80]
}

const LOGIN: &str = "om:s3cret%40@";

#[tokio::test]
async fn a_proxy_is_asked_for_the_data_centre_and_shown_who_asks() {
    let request = [5, 1, 0, 1, 192, 0, 2, 9, 1, 0xbb];
    let acts = vec![Hear(3), Spell(vec![5, 0]), Hear(10), Spell(socks_reply(0)), Wait];
    let (dialled, heard) = dial_by("socks5", "", acts).await;
    dialled.unwrap();
    assert_eq!(heard, [&[5, 1, 0][..], &request, b"!"].concat());

    let acts = vec![Hear(4), Say(vec![5, 2]), Hear(12), Say(vec![1, 0]), Hear(10)];
    let acts = acts.into_iter().chain([Say(socks_reply(0)), Wait]).collect();
    let (dialled, heard) = dial_by("socks5", LOGIN, acts).await;
    dialled.unwrap();
    let login = [&[1, 2][..], b"om", &[7], b"s3cret@"].concat();
    assert_eq!(heard, [&[5, 2, 0, 2][..], &login, &request, b"!"].concat());

    for answer in
        ["HTTP/1.1 200 Connection established\r\n\r\n", "HTTP/1.0 200 OK\r\nVia: x\r\n\r\n"]
    {
        let acts = vec![HearHead, Spell(answer.into()), Wait];
        let (dialled, heard) = dial_by("http", LOGIN, acts).await;
        dialled.unwrap();
        let login = "Proxy-Authorization: Basic b206czNjcmV0QA==";
        let asked = format!("CONNECT {TARGET} HTTP/1.1\r\nHost: {TARGET}\r\n{login}\r\n\r\n!");
        assert_eq!(String::from_utf8(heard).unwrap(), asked);
    }
}

#[tokio::test]
async fn what_a_socks_proxy_says_instead_is_told_in_words_of_ours() {
    use ProxyProblem as It;

    let chosen = |more: Vec<Act>| {
        [Hear(3), Say(vec![5, 0]), Hear(10)].into_iter().chain(more).collect::<Vec<Act>>()
    };
    for (login, acts, is_it) in [
        ("", vec![], (|it| matches!(it, It::Closed)) as fn(&It) -> bool),
        ("", vec![Hear(3)], |it| matches!(it, It::Closed)),
        ("", vec![Hear(3), Say(vec![5])], |it| matches!(it, It::Closed)),
        ("", vec![Hear(3), Say(vec![5, 0xff])], |it| matches!(it, It::CredentialsWanted)),
        ("", vec![Hear(3), Say(vec![5, 2]), Wait], |it| matches!(it, It::CredentialsWanted)),
        (LOGIN, vec![Hear(4), Say(vec![5, 0xff])], |it| matches!(it, It::Credentials)),
        ("", vec![Hear(3), Say(b"HTTP/1.0 400 no\r\n".to_vec())], |it| matches!(it, It::Nonsense)),
        ("", vec![Hear(3), Say(vec![4, 90])], |it| matches!(it, It::Nonsense)),
        ("", vec![Hear(3), Say(vec![5, 7])], |it| matches!(it, It::Nonsense)),
        ("", chosen(vec![]), |it| matches!(it, It::Closed)),
        ("", chosen(vec![Say(vec![5, 0, 0, 1, 127])]), |it| matches!(it, It::Closed)),
        ("", chosen(vec![Say(socks_reply(1))]), |it| matches!(it, It::Target(_))),
        ("", chosen(vec![Say(socks_reply(2))]), |it| matches!(it, It::Forbidden)),
        ("", chosen(vec![Say(socks_reply(5))]), |it| matches!(it, It::Target(_))),
        ("", chosen(vec![Say(socks_reply(99))]), |it| matches!(it, It::Nonsense)),
        ("", chosen(vec![Say(vec![5, 0, 0, 9, 1, 1, 1, 1])]), |it| matches!(it, It::Nonsense)),
    ] {
        let (dialled, _) = dial_by("socks5", login, acts).await;
        let error = dialled.unwrap_err();
        assert!(is_it(error.problem()), "{error}");
    }
    let refused = vec![Hear(4), Say(vec![5, 2]), Hear(12), Say(vec![1, 1])];
    let error = dial_by("socks5", LOGIN, refused).await.0.unwrap_err();
    assert!(matches!(error.problem(), It::Credentials), "{error}");
}

#[tokio::test]
async fn what_an_http_proxy_says_instead_is_told_in_words_of_ours() {
    use ProxyProblem as It;

    let status =
        |code: &str| format!("HTTP/1.1 {code}\r\nContent-Length: 2\r\n\r\nno").into_bytes();
    let endless = [b"HTTP/1.1 200 OK\r\n".to_vec(), vec![b'x'; 2 * HEAD_LEN_MAX]].concat();
    for (login, answer, is_it) in [
        ("", status("407 Login"), (|it| matches!(it, It::CredentialsWanted)) as fn(&It) -> bool),
        (LOGIN, status("407 Login"), |it| matches!(it, It::Credentials)),
        (LOGIN, status("401 Login"), |it| matches!(it, It::Credentials)),
        ("", status("403 Filtered"), |it| matches!(it, It::Forbidden)),
        ("", status("405 Method"), |it| matches!(it, It::Forbidden)),
        ("", status("502 Bad gateway"), |it| matches!(it, It::Target(_))),
        ("", status("503"), |it| matches!(it, It::Target(_))),
        ("", status("302 Found"), |it| matches!(it, It::Nonsense)),
        ("", status("2000 OK"), |it| matches!(it, It::Nonsense)),
        ("", status(""), |it| matches!(it, It::Nonsense)),
        ("", b"HTTP/1.1 200 OK\r\n\r\nmore".to_vec(), |it| matches!(it, It::Nonsense)),
        ("", b"SSH-2.0-x\r\n".to_vec(), |it| matches!(it, It::Nonsense)),
        ("", vec![5, 0xff], |it| matches!(it, It::Nonsense)),
        ("", endless, |it| matches!(it, It::Nonsense)),
        ("", b"HTTP/1.1 200 OK\r\n".to_vec(), |it| matches!(it, It::Closed)),
        ("", Vec::new(), |it| matches!(it, It::Closed)),
    ] {
        let shown = String::from_utf8_lossy(&answer).chars().take(40).collect::<String>();
        let (dialled, _) = dial_by("http", login, vec![HearHead, Say(answer)]).await;
        let error = dialled.expect_err(&shown);
        assert!(is_it(error.problem()), "{shown}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_says_nothing_ends_at_the_deadline() {
    for (scheme, acts) in [
        ("socks5", vec![Wait]),
        ("socks5", vec![Hear(3), Say(vec![5, 0]), Wait]),
        ("http", vec![Wait]),
        ("http", vec![HearHead, Say(b"HTTP/1.1 ".to_vec()), Wait]),
    ] {
        let error = dial_by(scheme, "", acts).await.0.unwrap_err();
        assert!(matches!(error.problem(), ProxyProblem::Timeout { after: LIMIT }), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_that_does_not_run_is_told_to_be_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for scheme in ["socks5", "http"] {
        let proxy = format!("{scheme}://127.0.0.1:{port}").parse().unwrap();
        let error = dial(&proxy, TARGET.parse().unwrap(), LIMIT).await.unwrap_err();
        let ProxyProblem::Unreachable(said) = error.problem() else { panic!("{error}") };
        assert_eq!(said.kind(), ErrorKind::ConnectionRefused);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_dial_leaves_from_the_address_that_was_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let bound = |url: &str| url.parse::<Proxy>().unwrap();
    let dialled = dial(&bound("bind://127.0.0.5"), target, LIMIT).await.unwrap();
    let (_, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, dialled.local_addr().unwrap());
    assert_eq!(peer.ip().to_string(), "127.0.0.5");

    let error = dial(&bound("bind://192.0.2.7"), target, LIMIT).await.unwrap_err();
    assert!(matches!(error.problem(), ProxyProblem::NotOurs), "{error}");
    assert!(
        error.to_string().starts_with("the address to dial from, 192.0.2.7, is none"),
        "{error}"
    );
    let error = dial(&bound("bind://::1"), target, LIMIT).await.unwrap_err();
    assert!(matches!(error.problem(), ProxyProblem::Family), "{error}");
    drop(listener);
    let error = dial(&bound("bind://127.0.0.5"), target, LIMIT).await.unwrap_err();
    assert!(matches!(error.problem(), ProxyProblem::NoRoute(_)), "{error}");
}
