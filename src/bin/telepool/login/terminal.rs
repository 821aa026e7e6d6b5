//! The terminal, or whatever else stands at standard input: lines that come in, and whether they show.
//!
//! Owns the one thread that reads. A prompt can be left at any time, which a read that blocks could not be: hence no
//! library asks for the password here.

use std::collections::VecDeque;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// The lines of standard input.
pub(super) struct Lines {
    coming: mpsc::UnboundedReceiver<Zeroizing<String>>,
    /// Those that came before they were asked for.
    early: VecDeque<Zeroizing<String>>,
}

impl Lines {
    /// Reads from now on. The thread ends with the process, or with its input.
    pub(super) fn start() -> Self {
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let mut input = std::io::stdin().lock();
            loop {
                let mut line = Zeroizing::new(String::new());
                match input.read_line(&mut line) {
                    Ok(1..) if sender.send(line).is_ok() => {}
                    _ => return,
                }
            }
        });
        Self { coming: lines, early: VecDeque::new() }
    }

    /// The next line, without what ends it. `None`: there is no other one.
    pub(super) async fn next(&mut self) -> Option<Zeroizing<String>> {
        match self.early.pop_front() {
            Some(line) => Some(line),
            None => self.next_new().await,
        }
    }

    /// The next line that comes from now on.
    pub(super) async fn next_new(&mut self) -> Option<Zeroizing<String>> {
        let line = self.coming.recv().await?;
        Some(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// Keeps a line for whoever asks for it later.
    pub(super) fn keep(&mut self, line: Zeroizing<String>) {
        self.early.push_back(line);
    }
}

/// Whether a person can be asked here.
pub(super) fn is_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Writes to the person, as it is. Whoever is gone reads nothing.
pub(super) fn write(text: &str) {
    let mut out = std::io::stderr().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}

/// What is typed does not show, until this is dropped.
pub(super) struct Hidden {
    #[cfg(unix)]
    before: Option<nix::sys::termios::Termios>,
}

impl Hidden {
    #[cfg(unix)]
    pub(super) fn new() -> Self {
        use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
        let before = tcgetattr(std::io::stdin()).ok();
        if let Some(before) = &before {
            let mut hidden = before.clone();
            hidden.local_flags.remove(LocalFlags::ECHO);
            hidden.local_flags.insert(LocalFlags::ECHONL);
            tcsetattr(std::io::stdin(), SetArg::TCSANOW, &hidden).ok();
        }
        Self { before }
    }

    #[cfg(not(unix))]
    pub(super) fn new() -> Self {
        Self {}
    }
}

#[cfg(unix)]
impl Drop for Hidden {
    fn drop(&mut self) {
        use nix::sys::termios::{SetArg, tcsetattr};
        if let Some(before) = &self.before {
            tcsetattr(std::io::stdin(), SetArg::TCSANOW, before).ok();
        }
    }
}
