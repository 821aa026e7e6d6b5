//! What is asked and told during a sign-in: a person at a terminal, or a program by lines of JSON.
//!
//! Owns the words and the keys of both. Never shows a secret, and never decides what an answer means.

use serde::Deserialize;
use serde_json::{Value, json};
use telepool::sign_in::{CodeDelivery, CodeRefusal, LoginLink, PasswordQuestion, SentCode};
use zeroize::Zeroizing;

use super::code_image::{CodePicture, in_characters};
use super::terminal::{Hidden, Lines, write};
use crate::failure::Failure;
use crate::stdout;

/// With whom a sign-in is.
pub(super) enum Conversation {
    /// A person, who reads standard error.
    Person(Lines),
    /// A program: each line is a JSON object.
    Program(Lines),
    /// Nobody: what was not given is missing.
    Nobody,
}

/// What somebody has entered.
pub(super) enum Entered {
    Text(Zeroizing<String>),
    /// Another code is wanted.
    Resend,
    /// The sign-in is given up.
    Cancel,
}

/// What a program says.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Code(Zeroizing<String>),
    Password(Zeroizing<String>),
    Resend(bool),
    Cancel(bool),
}

impl Conversation {
    /// Prints an event to a program.
    fn event(event: &Value) -> Result<(), Failure> {
        stdout::print(&format!("{event}\n"))
    }

    /// Tells what is no question.
    pub(super) fn tell(&self, event: &Value, words: &str) -> Result<(), Failure> {
        match self {
            Self::Program(_) => Self::event(event),
            Self::Person(_) | Self::Nobody => {
                say!("telepool: {words}");
                Ok(())
            }
        }
    }

    /// Asks for a phone number. `None`: a code to be scanned is preferred.
    pub(super) async fn phone(&mut self) -> Result<Option<Zeroizing<String>>, Failure> {
        match self {
            Self::Person(lines) => {
                write("Phone number with +, or nothing to scan a code: ");
                let line = lines.next().await.ok_or_else(left)?;
                Ok(Some(line).filter(|line| !line.trim().is_empty()))
            }
            Self::Program(_) | Self::Nobody => Err(Failure::missing(
                "how to sign in: give a phone number, --qr, --bot or --bot-tokens",
            )),
        }
    }

    /// Asks for what is given once: the application, a token.
    pub(super) async fn once(
        &mut self,
        question: &str,
        is_secret: bool,
        remedy: &str,
    ) -> Result<Zeroizing<String>, Failure> {
        match self {
            Self::Person(lines) => {
                write(question);
                let hidden = is_secret.then(Hidden::new);
                let line = lines.next().await.ok_or_else(left);
                drop(hidden);
                line
            }
            Self::Program(_) | Self::Nobody => Err(Failure::missing(remedy)),
        }
    }

    /// Asks for the code.
    pub(super) async fn code(
        &mut self,
        name: &str,
        sent: &SentCode,
        problem: Option<&str>,
    ) -> Result<Entered, Failure> {
        match self {
            Self::Person(lines) => {
                write(&code_words(name, sent, problem));
                let line = lines.next().await.ok_or_else(|| ended(name))?;
                Ok(match line.trim() {
                    "resend" => Entered::Resend,
                    "cancel" => Entered::Cancel,
                    _ => Entered::Text(line),
                })
            }
            Self::Program(lines) => {
                Self::event(&code_event(name, sent, problem))?;
                heard(lines, name, |said| match said {
                    Said::Code(code) => Some(Entered::Text(code)),
                    Said::Resend(true) => Some(Entered::Resend),
                    _ => None,
                })
                .await
            }
            Self::Nobody => Err(Failure::missing(format!(
                "the code that was sent {}: go on in a terminal with telepool login --resume {name}, or by a program \
                 with --json",
                sent.delivery
            ))),
        }
    }

    /// Asks for the password.
    pub(super) async fn password(
        &mut self,
        name: &str,
        question: &PasswordQuestion,
        problem: Option<&str>,
    ) -> Result<Entered, Failure> {
        match self {
            Self::Person(lines) => {
                write(&password_words(name, question, problem));
                let hidden = Hidden::new();
                let line = lines.next().await;
                drop(hidden);
                Ok(Entered::Text(line.ok_or_else(|| ended(name))?))
            }
            Self::Program(lines) => {
                Self::event(&json!({
                    "event": "password",
                    "account": name,
                    "hint": question.hint,
                    "can_be_recovered": question.can_be_recovered,
                    "tries_left": question.tries_left,
                    "refusal": question.was_wrong.then_some("wrong"),
                    "problem": problem,
                }))?;
                heard(lines, name, |said| match said {
                    Said::Password(password) => Some(Entered::Text(password)),
                    _ => None,
                })
                .await
            }
            Self::Nobody => Err(Failure::missing(format!(
                "the account's password: set TELEPOOL_PASSWORD, or go on in a terminal with telepool login --resume \
                 {name}"
            ))),
        }
    }

    /// Shows what is to be scanned, in place of what was drawn before on so many lines.
    pub(super) fn show(
        &self,
        link: &LoginLink,
        picture: Option<&CodePicture>,
        drawn: &mut usize,
    ) -> Result<(), Failure> {
        let url = link.url();
        if let Some(picture) = picture {
            picture.draw(&url).map_err(|error| Failure::refused(format!("--qr-png: {error}")))?;
        }
        match self {
            Self::Program(_) => Self::event(&json!({
                "event": "scan",
                "url": url.as_str(),
                "expires": link.expires,
            })),
            Self::Person(_) => {
                let columns = usize::from(console::Term::stderr().size().1);
                let code = in_characters(&url).filter(|(_, width)| *width <= columns);
                let Some((code, _)) = code else {
                    write(&format!(
                        "\nThe code does not fit into {columns} columns: make the window wider, or draw it with --qr-png \
                         FILE.\n"
                    ));
                    return Ok(());
                };
                let text = format!(
                    "{code}\nScan it with the app of the account: Settings, Devices, Link Desktop Device.\n\
                     It is good for half a minute and then drawn anew; Ctrl-C ends it.\n"
                );
                // In place of the one before.
                match *drawn {
                    0 => write("\n"),
                    lines => write(&format!("\u{1b}[{lines}A\u{1b}[J")),
                }
                *drawn = text.lines().count();
                write(&text);
                Ok(())
            }
            Self::Nobody if picture.is_some() => Ok(()),
            Self::Nobody => Err(Failure::missing(
                "somebody to scan the code: run it in a terminal, with --qr-png FILE or with --json",
            )),
        }
    }

    /// Waits until somebody ends what is shown: whether he gives the sign-in up, or has gone.
    pub(super) async fn interrupted(&mut self) -> Interruption {
        let (Self::Person(lines) | Self::Program(lines)) = self else {
            return std::future::pending().await;
        };
        while let Some(line) = lines.next_new().await {
            let is_cancel = matches!(serde_json::from_str(&line), Ok(Said::Cancel(true)));
            if is_cancel || line.trim() == "cancel" {
                return Interruption::Cancel;
            }
            lines.keep(line);
        }
        Interruption::Gone
    }
}

/// How somebody ends what is shown.
pub(super) enum Interruption {
    Cancel,
    Gone,
}

/// Waits for what answers a question. What does not is told so, and the question stands.
async fn heard(
    lines: &mut Lines,
    name: &str,
    meant: impl Fn(Said) -> Option<Entered>,
) -> Result<Entered, Failure> {
    loop {
        let line = lines.next().await;
        let line = line.ok_or_else(|| ended(name))?;
        let problem = match serde_json::from_str::<Said>(&line) {
            Ok(Said::Cancel(true)) => return Ok(Entered::Cancel),
            Ok(said) => match meant(said) {
                Some(entered) => return Ok(entered),
                None => "this answers another question",
            },
            // It may hold a secret, and is not repeated.
            Err(_) => {
                "this is no answer: one of {\"code\": \"..\"}, {\"password\": \"..\"}, {\"resend\": true} and \
                       {\"cancel\": true} is"
            }
        };
        Conversation::event(&json!({ "event": "problem", "problem": problem }))?;
    }
}

/// The input has ended at a question of a sign-in.
fn ended(name: &str) -> Failure {
    Failure::missing(format!(
        "an answer: standard input has ended; telepool login --resume {name} goes on with it"
    ))
}

/// The input has ended before there was anything to go on with.
fn left() -> Failure {
    Failure::missing("an answer: standard input has ended")
}

fn code_words(name: &str, sent: &SentCode, problem: Option<&str>) -> String {
    let mut text = String::from("\n");
    let mut add = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    if let Some(problem) = problem {
        add(format!("No: {problem}."));
    }
    let tries = sent.tries_left;
    match sent.refusal {
        Some(CodeRefusal::Wrong) => add(format!("That is not the code; {tries} tries are left.")),
        Some(CodeRefusal::Expired) => add(
            "The code is out of date: too late, or somebody has written it into a chat, which voids it. Enter resend \
             for another one."
                .to_owned(),
        ),
        _ => {}
    }
    add(format!("The code for {name} was sent {}.", sent.delivery));
    if !matches!(sent.delivery, CodeDelivery::Email { .. }) {
        add("Write it into no chat, not even to yourself: that voids it.".to_owned());
    }
    match (&sent.next, sent.next_after) {
        (Some(next), Some(after)) => {
            add(format!("resend: another one {next}, after {} s", after.as_secs()));
        }
        (Some(next), None) => add(format!("resend: another one {next}")),
        (None, _) if sent.refusal == Some(CodeRefusal::Expired) => {
            add("resend: another one".to_owned());
        }
        (None, _) => {}
    }
    add("cancel: give it up; Ctrl-C: leave it, for telepool login --resume".to_owned());
    let length = sent.length.map(|length| format!(" ({length} characters)"));
    text.push_str(&format!("Code{}: ", length.unwrap_or_default()));
    text
}

fn code_event(name: &str, sent: &SentCode, problem: Option<&str>) -> Value {
    json!({
        "event": "code",
        "account": name,
        "sent": sent.delivery.to_string(),
        "length": sent.length,
        "next": sent.next.as_ref().map(ToString::to_string),
        "next_after_s": sent.next_after.map(|after| after.as_secs()),
        "tries_left": sent.tries_left,
        "refusal": sent.refusal.map(|refusal| match refusal {
            CodeRefusal::Wrong => "wrong",
            _ => "expired",
        }),
        "problem": problem,
    })
}

fn password_words(name: &str, question: &PasswordQuestion, problem: Option<&str>) -> String {
    let mut text = String::from("\n");
    if let Some(problem) = problem {
        text.push_str(&format!("No: {problem}.\n"));
    }
    if question.was_wrong {
        text.push_str("That is not the password.\n");
    }
    text.push_str(&format!("{name} has a password"));
    if let Some(hint) = &question.hint {
        text.push_str(&format!(" (its hint: {hint})"));
    }
    let tries = question.tries_left;
    text.push_str(&format!(
        "; {tries} tries are left. Ctrl-C: leave it, for telepool login --resume\nPassword: "
    ));
    text
}
