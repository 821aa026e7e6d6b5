//! URLs, right and wrong, and what is said of them.

use super::*;

#[test]
fn a_label_has_no_credentials_in_it() {
    for url in [
        "socks5://proxy.example:1080",
        "socks5://user:secret@proxy.example:1080",
        "socks5://user:se@cret@proxy.example:1080/",
    ] {
        assert_eq!(proxy_label(url), Some("proxy.example:1080"), "{url}");
    }
    assert_eq!(proxy_label("socks5://[::1]:9050"), Some("[::1]:9050"));
}

#[test]
fn what_is_no_proxy_has_no_label() {
    for url in [
        "",
        "https://proxy.example:1080",
        "socks4://proxy.example:1080",
        "bind://proxy.example",
        "bind://192.0.2.7:1080",
        "bind://0.0.0.0",
        "bind://[::]",
        "bind://[192.0.2.7]",
        "bind://user:pass@192.0.2.7",
        "bind://",
        "socks5://proxy.example",
        "socks5://proxy.example:0",
        "socks5://:1080",
        "socks5://a:b@c:port",
        "socks5://a/b:1080",
        "socks5://proxy.example:1080\n",
        "socks5://proxy.example:+1080",
        "socks5://::1:9050",
        "socks5://[::1:9050",
    ] {
        assert_eq!(proxy_label(url), None, "{url}");
    }
}

#[test]
fn what_may_be_the_wrong_way_round_has_no_label() {
    for url in [
        "socks5://203.0.113.7:11758@om:123",
        "socks5://203.0.113.7:11758@user.name:123",
        "socks5://203.0.113.7:11758@om:a@b:123",
        "socks5://203.0.113.7@om:123",
        "socks5://[2001:db8::7]:1080@om:123",
        "socks5://proxy.example:1080@om:123",
        "socks5://proxy.example:1080@user.name:123",
        "socks5://proxy:1080@om:123",
        "socks5://203.0.113.7:11758:om:123",
        "socks5://om:123:203.0.113.7:11758",
        "socks5://om:secret:203.0.113.7:11758",
    ] {
        assert_eq!(proxy_label(url), None, "{url}");
    }
    for (url, label) in [
        ("socks5://om:123@203.0.113.7:11758", "203.0.113.7:11758"),
        ("socks5://user.name:123@203.0.113.7:11758", "203.0.113.7:11758"),
        ("socks5://om:123@[2001:db8::7]:1080", "[2001:db8::7]:1080"),
        ("socks5://om:123@proxy.example:1080", "proxy.example:1080"),
        ("socks5://om:secret@proxy:1080", "proxy:1080"),
        ("socks5://user.name:secret@proxy:1080", "proxy:1080"),
        ("socks5://om:se:cret@proxy:1080", "proxy:1080"),
    ] {
        assert_eq!(proxy_label(url), Some(label), "{url}");
    }
}

fn parsed(url: &str) -> Proxy {
    url.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
}

#[test]
fn every_form_says_what_a_dial_does() {
    for (url, label) in [
        ("socks5://proxy.example:1080", "proxy.example:1080"),
        ("socks5://Proxy.Example:01080/", "proxy.example:1080"),
        ("socks5://user:secret@[2001:DB8::7]:1080", "[2001:db8::7]:1080"),
        ("http://user:secret@203.0.113.7:3128/", "203.0.113.7:3128"),
        ("http://user@proxy.example:3128", "proxy.example:3128"),
        ("bind://192.0.2.7", "192.0.2.7"),
        ("bind://[2001:DB8::7]/", "2001:db8::7"),
        ("bind://2001:db8::7", "2001:db8::7"),
    ] {
        let proxy = parsed(url);
        assert_eq!((proxy.label(), proxy.expose_url()), (label, url));
        assert!(proxy_label(url).is_some(), "{url}");
    }
    let ProxyWay::Socks5(server) = parsed("socks5://[::1]:9050").way().clone() else { panic!() };
    assert_eq!((&*server.host, server.port, server.credentials), ("::1", 9050, None));
    let ip = "192.0.2.7".parse().unwrap();
    assert_eq!(parsed("bind://192.0.2.7").way(), &ProxyWay::Bind(ip));
}

#[test]
fn credentials_are_decoded_and_never_shown() {
    for (url, user, password) in [
        ("socks5://user:secret@proxy.example:1080", "user", "secret"),
        ("http://us%3Aer:se%40c%25r%2Fet@proxy.example:1080", "", ""),
        ("http://user:se%40c%25r%2Fet@proxy.example:1080", "user", "se@c%r/et"),
        ("socks5://us%C3%A9r:se:cr@t@proxy.example:1080", "us\u{e9}r", "se:cr@t"),
        ("http://user@proxy.example:1080", "user", ""),
    ] {
        if user.is_empty() {
            assert!(url.parse::<Proxy>().is_err(), "{url}");
            continue;
        }
        let proxy = parsed(url);
        let (ProxyWay::Socks5(server) | ProxyWay::HttpConnect(server)) = proxy.way() else {
            panic!("{url}")
        };
        let credentials = server.credentials.as_ref().unwrap();
        assert_eq!((credentials.expose_user(), credentials.expose_password()), (user, password));
        for shown in [format!("{proxy:?}"), proxy.to_string(), format!("{:?}", proxy.way())] {
            assert!(!shown.contains("user") && !shown.contains("secret"), "{shown}");
        }
    }
}

#[test]
fn what_is_wrong_is_told_without_the_url() {
    let long = format!("socks5://user:{}@proxy.example:1080", "x".repeat(256));
    let longer = format!("socks5://user:{}@proxy.example:1080", "x".repeat(1024));
    for (url, words) in [
        ("ftp://hidden:hidden@proxy.example:1", "bind://IP"),
        ("socks5://203.0.113.7:11758@hidden:123", "in this order"),
        ("socks5://hidden:50%off@proxy.example:1080", "%25"),
        ("socks5://hidden:%0Ahidden@proxy.example:1080", "%25"),
        ("socks5://hidden:%ffhidden@proxy.example:1080", "%25"),
        ("socks5://hidden@proxy.example:1080", "password"),
        ("socks5://:hidden@proxy.example:1080", "password"),
        ("bind://hidden", "address of this machine"),
        (&long, "255"),
        (&longer, "1024"),
    ] {
        let error = url.parse::<Proxy>().unwrap_err().to_string();
        assert!(error.contains(words), "{url}: {error}");
        for secret in ["hidden", "203.0.113", "off", "xxx"] {
            assert!(!error.contains(secret), "{url}: {error}");
        }
    }
}
