//! Redaction: what may be a secret in the wrong place is not repeated to a terminal or a log.
//!
//! Owns the look of such a text. Session strings are long, tokens of bots have a number and a colon in
//! front, tokens of `telepool token` begin with `tp_`, and passwords stand before an `@`.

use telepool::http::TokenId;

/// The longest value that any setting takes, and more.
const SHOWN_LEN_MAX: usize = 24;
/// No name of a file is longer.
const NAME_LEN_MAX: usize = 255;
/// The shortest secret of a bot's token.
const TOKEN_LEN_MIN: usize = 30;

/// A value as an error may repeat it.
pub(crate) fn redact_value(value: &str) -> String {
    match value.chars().count() {
        0..=SHOWN_LEN_MAX if !value.contains(|c: char| c.is_control() || c == '@') => {
            value.to_owned()
        }
        count => instead(count),
    }
}

/// What TOML's parser says, without the line that it quotes: the file may be another than was meant.
pub(crate) fn toml_problem(text: &str, error: &toml::de::Error) -> String {
    if text.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
        return "this is JSON: a file of sessions is given to --sessions".to_owned();
    }
    let what = in_plain_words(&quotes_shown(error.message()));
    let Some(span) = error.span() else { return what };
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("line {line}, column {column}: {what}")
}

/// The types of the program in the words of whoever writes the file.
fn in_plain_words(text: &str) -> String {
    let Some((found, expected)) = text.rsplit_once(", expected ") else {
        let is_missing = text.starts_with("missing field ");
        return if is_missing { format!("{text}: add it") } else { text.to_owned() };
    };
    let expected = match expected {
        "f64" => "a number, such as 0.5, without quotes",
        "i64" => "a whole number, such as 3, without quotes",
        "a string" => "a text in quotes",
        other => other,
    };
    format!("{found}, expected {expected}")
}

/// Replaces what is quoted and may be a secret.
fn quotes_shown(text: &str) -> String {
    let mut all = String::new();
    let mut open = None;
    for part in text.split_inclusive(['`', '"']) {
        let inside = part.trim_end_matches(['`', '"']);
        let quote = &part[inside.len()..];
        match open.take() {
            Some(it) if it == quote || quote.is_empty() => all.push_str(&redact_value(inside)),
            _ => {
                all.push_str(inside);
                open = (!quote.is_empty()).then(|| quote.to_owned());
            }
        }
        all.push_str(quote);
    }
    all
}

/// Replaces arguments of the process that may be secrets, wherever a text repeats them.
pub(crate) fn redact(text: String) -> String {
    let arguments = std::env::args_os().skip(1).filter_map(|argument| argument.into_string().ok());
    arguments.fold(text, |text, argument| {
        let value = argument.split_once('=').map_or(&*argument, |(_, value)| value);
        let secrets = [&*argument, value].into_iter().filter(|it| may_be_secret(it));
        secrets.fold(text, |text, secret| text.replace(secret, &instead(secret.chars().count())))
    })
}

/// Whether a text looks like a session string, which is longer than any name of a file, a bot's token or one
/// of `telepool token`.
pub(crate) fn may_be_secret(text: &str) -> bool {
    let is_token = text.split_once(':').is_some_and(|(id, rest)| {
        !id.is_empty()
            && id.bytes().all(|byte| byte.is_ascii_digit())
            && rest.len() >= TOKEN_LEN_MIN
            && !rest.contains(['/', '.'])
    });
    is_token || has_own_token(text) || text.split('/').any(|name| name.len() > NAME_LEN_MAX)
}

/// Whether a token of `telepool token` stands in a text, or what is left of one: its beginning, its id, and
/// something behind them.
fn has_own_token(text: &str) -> bool {
    text.match_indices("tp_").any(|(at, found)| {
        let rest = text[at + found.len()..].split_once('_');
        rest.is_some_and(|(id, rest)| !rest.is_empty() && id.parse::<TokenId>().is_ok())
    })
}

fn instead(count: usize) -> String {
    format!("(a text of {count} characters)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_told_by_its_length() {
        let token = format!("5000000000:{}", "A".repeat(35));
        let own = format!("tp_abcdefgh_{}", "A".repeat(43));
        let cut = format!("={}", &own[..30]);
        for secret in [&*"B".repeat(353), &token, &own, &cut, &format!("/tmp/{}", "C".repeat(300))]
        {
            assert!(may_be_secret(secret), "{secret}");
            assert!(!redact_value(secret).contains("AAA"), "{secret}");
        }
        for other in [
            "sessions.jsonl",
            "127.0.0.1:9464",
            "pool.max_idle_time",
            "1:2",
            "a/b/c",
            "http_abcdefghij",
        ] {
            assert!(!may_be_secret(other) && redact_value(other) == other, "{other}");
        }
        assert_eq!(redact_value("u:PW@127.0.0.1:1"), "(a text of 16 characters)");
    }

    #[test]
    fn of_a_file_that_is_no_toml_no_line_is_repeated() {
        let problem = |text: &str| {
            let error = text.parse::<toml::Table>().unwrap_err();
            toml_problem(text, &error)
        };
        let sessions = r#"{"phone": "+442079460958", "session": "1BVtsSECRET"}"#;
        assert_eq!(problem(sessions), "this is JSON: a file of sessions is given to --sessions");
        for text in
            ["[pool]\npassword = \"SECRETPW", "url=\"postgres://u:SECRETPW@h/d", "SECRET: x"]
        {
            let problem = problem(text);
            assert!(problem.starts_with("line ") && !problem.contains("SECRET"), "{problem}");
        }
    }

    #[test]
    fn types_are_told_in_plain_words() {
        for (text, told) in [
            ("invalid type: string \"0.5\", expected f64", "a number, such as 0.5, without quotes"),
            (
                "invalid type: string \"3\", expected i64",
                "a whole number, such as 3, without quotes",
            ),
            ("invalid type: integer `5`, expected a string", "a text in quotes"),
            ("unknown field `a`, expected `b` or `c`", "unknown field `a`, expected `b` or `c`"),
            ("missing field `fault`", "missing field `fault`: add it"),
        ] {
            assert!(in_plain_words(text).ends_with(told), "{text}");
        }
    }

    #[test]
    fn what_a_message_quotes_is_shown_if_it_is_short() {
        let long = "S".repeat(40);
        let text = format!("unknown field `{long}`, expected `on` or \"a@b\"");
        assert_eq!(
            quotes_shown(&text),
            "unknown field `(a text of 40 characters)`, expected `on` or \"(a text of 3 characters)\""
        );
    }
}
