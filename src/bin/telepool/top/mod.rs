//! `telepool top`: a running pool in the terminal, once a second.
//!
//! Owns the loop of keys and answers, and the terminal's state: whatever ends the command, the terminal is left
//! as it was.

mod data;
mod frame;
mod view;

use std::io::{IsTerminal as _, stdin, stdout};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::{DefaultTerminal, Terminal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::client::{Client, ClientArguments};
use crate::clock::now;
use crate::columns::COLUMNS;
use crate::failure::Failure;
use crate::signals::Stop;
use crate::{runtime, signals, stdout as out};

use data::Data;
use view::{Heed, View};

/// How often the pool is asked.
const STEP: Duration = Duration::from_secs(1);
/// How many keys may wait to be heeded.
const KEYS_MAX: usize = 64;
/// How many lines one frame has that goes nowhere near a terminal.
const LINES: u16 = 40;

#[derive(Debug, Args)]
pub(crate) struct TopArguments {
    #[command(flatten)]
    to: ClientArguments,
    /// Prints one frame as plain text, and ends.
    #[arg(long)]
    once: bool,
}

pub(crate) fn run(arguments: &TopArguments) -> Result<ExitCode, Failure> {
    let client = arguments.to.client()?;
    let runtime = runtime::current_thread()?;
    if arguments.once {
        let data = runtime.block_on(data::fetch(&client, &View::default().asks()))?;
        out::print(&as_text(&data)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !stdout().is_terminal() || !stdin().is_terminal() {
        return Err(Failure::refused(
            "top needs a terminal: top --once prints one frame, and telepool ctl lists everything",
        ));
    }
    let (_stopper, stop) = signals::listen()?;
    // Nobody there is told before the terminal is taken over.
    let first = runtime.block_on(data::fetch(&client, &View::default().asks()))?;
    let broken = |error: std::io::Error| Failure::broken(format!("the terminal: {error}"));
    in_terminal(|terminal| runtime.block_on(show(terminal, &client, first, stop)))
        .map_err(broken)?;
    Ok(ExitCode::SUCCESS)
}

/// Takes the terminal over for as long as something is shown, and leaves it as it was. A panic does so as well,
/// and is told after that.
fn in_terminal(
    show: impl FnOnce(&mut DefaultTerminal) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal);
    ratatui::restore();
    shown
}

/// A frame of a terminal that nobody has made wider.
fn as_text(data: &Data) -> Result<String, Failure> {
    let width = u16::try_from(COLUMNS).expect("BUG: it is a width");
    let mut terminal = Terminal::new(TestBackend::new(width, LINES)).expect("BUG: it cannot fail");
    let view = View::default();
    terminal.draw(|frame| frame::draw(frame, &view, data)).expect("BUG: it cannot fail");
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in buffer.content().chunks(usize::from(width)) {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    Ok(text)
}

/// Shows the pool until the end is asked for.
async fn show(
    terminal: &mut DefaultTerminal,
    client: &Client,
    first: Data,
    mut stop: Stop,
) -> std::io::Result<()> {
    let mut keys = keys();
    let (mut view, mut data) = (View::default(), first);
    let mut next = fetch_at(client, &view, now() + STEP);
    loop {
        terminal.draw(|frame| frame::draw(frame, &view, &data))?;
        let event = tokio::select! {
            event = keys.recv() => event,
            fetched = next.as_mut() => {
                data.take(fetched);
                next = fetch_at(client, &view, now() + STEP);
                continue;
            }
            () = stop.requested() => return Ok(()),
        };
        match event {
            // Anything else is a new size, which the next frame has.
            Some(Event::Key(key)) if key.kind == KeyEventKind::Press => match view.heed(key) {
                Heed::Quit => return Ok(()),
                Heed::AskAgain => next = fetch_at(client, &view, now()),
                Heed::ShowAgain => {}
            },
            Some(_) => {}
            // The terminal has gone.
            None => return Ok(()),
        }
    }
}

type Fetched<'a> = Pin<Box<dyn Future<Output = Result<Data, Failure>> + 'a>>;

fn fetch_at<'a>(client: &'a Client, view: &View, at: Instant) -> Fetched<'a> {
    let asks = view.asks();
    Box::pin(async move {
        sleep_until(at).await;
        data::fetch(client, &asks).await
    })
}

/// What is typed, read by a thread that ends with the process.
fn keys() -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Set in the process that panics.
    const PANICS: &str = "TELEPOOL_TEST_PANICS_IN_TERMINAL";

    #[test]
    fn a_panic_is_told_on_a_terminal_that_is_as_it_was() {
        if std::env::var_os(PANICS).is_some() {
            crate::logs::report_panics();
            in_terminal(|terminal| {
                terminal.draw(|frame| frame.render_widget("drawn", frame.area()))?;
                panic!("it is torn");
            })
            .unwrap();
        }
        let itself = std::env::current_exe().unwrap();
        let test = "top::tests::a_panic_is_told_on_a_terminal_that_is_as_it_was";
        let inside = format!(
            "stty rows 24 cols 80; '{}' --exact {test} --nocapture; stty -a",
            itself.display()
        );
        for format in ["text", "json"] {
            let output = Command::new("script")
                .args(["--quiet", "--command", &inside, "/dev/null"])
                .envs([("TERM", "xterm"), ("SHELL", "/bin/sh"), (PANICS, "1")])
                .env("TELEPOOL_LOG_FORMAT", format)
                .stdin(Stdio::null())
                .output()
                .expect("script, of Debian's package bsdutils");
            let sent = String::from_utf8(output.stdout).unwrap();
            let (before, after) =
                sent.rsplit_once("\u{1b}[?1049l").unwrap_or_else(|| panic!("{sent:?}"));
            assert!(before.contains("\u{1b}[?1049h") && before.contains("drawn"), "{sent:?}");
            assert!(!before.contains("it is torn"), "it would go with that screen: {sent:?}");
            for words in ["panicked at", "it is torn", " icanon", " echo "] {
                assert!(after.contains(words), "{words}: {sent:?}");
            }
        }
    }
}
