//! Ctrl-C, SIGTERM and a lost terminal: the first asks for an orderly end, the second ends at once.
//! A process that another one started may also end with its standard input.

use std::process::exit;

use tokio::sync::watch;

use crate::failure::Failure;

/// Whether the end is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    pub(crate) fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) async fn asked(&mut self) {
        // An error would mean that nobody can ask any more, which is an end as well.
        self.0.wait_for(|asked| *asked).await.ok();
    }
}

/// Where the end is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Stopper(watch::Sender<bool>);

impl Stopper {
    pub(crate) fn ask(&self) {
        self.0.send_replace(true);
    }
}

/// Listens for signals from now on.
pub(crate) fn listen() -> Result<(Stopper, Stop), Failure> {
    let (sender, receiver) = watch::channel(false);
    let mut signals = Signals::new()
        .map_err(|error| Failure::broken(format!("cannot listen for signals: {error}")))?;
    let stopper = Stopper(sender);
    let first = stopper.clone();
    drop(tokio::runtime::Handle::current().spawn(async move {
        signals.next().await;
        first.ask();
        signals.next().await;
        say!("telepool: ended at once, without closing its connections");
        exit(130);
    }));
    Ok((stopper, Stop(receiver)))
}

/// Does something once standard input has ended, which it does however its other end has died. The
/// thread that waits for it ends with the process: the runtime would wait for one of its own.
pub(crate) fn at_end_of_input(act: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        // An input that cannot be read has nobody at its other end.
        std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()).ok();
        act();
    });
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// Not where a lost terminal is to be outlived, as `nohup` has it.
    hangup: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let hangup = match ignores_hangup() {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self { interrupt, terminate, hangup })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hung_up(&mut self.hangup) => {}
        }
    }
}

#[cfg(unix)]
async fn hung_up(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether whoever started this process has it ignore a lost terminal. Only Linux tells.
#[cfg(unix)]
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The first bit is that of the first signal, which it is.
    ignored.is_some_and(|mask| mask & 1 != 0)
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        tokio::signal::ctrl_c().await.ok();
    }
}
