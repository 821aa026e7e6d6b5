use super::fuzzing;

/// What the fuzzer finds by itself in a longer time.
#[test]
fn requests_of_almost_any_bytes_keep_the_rules() {
    let words = [
        "localhost",
        "evil.com",
        "127.0.0.1",
        "[::1]",
        ":9464",
        ".",
        "@",
        "http://",
        "/",
        "/metrics",
        "/healthz",
        "/page/a",
        "/api/v1/session",
        "?token=",
        "same-origin",
        "cross-site",
        "none",
        "null",
        "Bearer ",
        "tp_abcdefgh_",
        "telepool_session=",
        "; ",
        "é",
        "\0",
        " ",
        "",
    ];
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..5000 {
        let mut bytes = vec![random.u8(..5)];
        bytes.extend(["/", "/metrics", "/healthz", "http://localhost/"][random.usize(..4)].bytes());
        for line in 0..random.usize(..4) {
            // Mostly the host that lets a request go on.
            let header = if line == 0 { 0 } else { random.u8(..6) };
            bytes.extend([b'\n', header]);
            let first = if line == 0 { random.usize(..4) } else { random.usize(..words.len()) };
            bytes.extend(words[first].bytes());
            (0..random.usize(..3))
                .for_each(|_| bytes.extend(words[random.usize(..words.len())].bytes()));
        }
        fuzzing::request_of_bytes(&bytes);
    }
}
