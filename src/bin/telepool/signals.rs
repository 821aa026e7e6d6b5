//! Shutdown by signals. Of Ctrl-C, SIGTERM and a lost terminal, the first asks for an orderly end, the second ends at once.
//! A process that another one started may also end with its standard input.

use std::process::exit;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::failure::Failure;

/// Whether the end is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    pub(crate) fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) async fn requested(&mut self) {
        // An error would mean that nobody can ask any more, which is an end as well.
        self.0.wait_for(|asked| *asked).await.ok();
    }
}

/// Where the end is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Stopper(watch::Sender<bool>);

impl Stopper {
    pub(crate) fn request(&self) {
        self.0.send_replace(true);
    }
}

/// Returns when the time since the start is up, or when the end is asked for.
pub(crate) async fn time_is_up(started: Instant, duration: Option<Duration>, mut stop: Stop) {
    // What is beyond the clock never comes.
    match duration.and_then(|duration| started.checked_add(duration)) {
        Some(end) => drop(timeout_at(end, stop.requested()).await),
        None => stop.requested().await,
    }
}

/// Where the end is asked for, and where it is heeded.
pub(crate) fn pair() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

/// Listens for signals from now on, on a thread of its own: whoever wants an end need not wait until the
/// threads of the work have time for that.
pub(crate) fn listen() -> Result<(Stopper, Stop), Failure> {
    let broken = |error| Failure::broken(format!("cannot listen for signals: {error}"));
    let (stopper, stop) = pair();
    let first = stopper.clone();
    let runtime = Builder::new_current_thread().enable_all().build().map_err(broken)?;
    let entered = runtime.enter();
    let mut signals = Signals::new().map_err(broken)?;
    drop(entered);
    let wait = async move {
        signals.next().await;
        first.request();
        signals.next().await;
        say!(WARN "telepool: ended at once, without closing its connections");
        exit(130);
    };
    let thread = std::thread::Builder::new().name("telepool-signals".into());
    thread.spawn(move || runtime.block_on(wait)).map_err(broken)?;
    Ok((stopper, stop))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    #[tokio::test(start_paused = true)]
    async fn a_run_lasts_from_its_start_however_late_that_is_looked_at() {
        const SECOND: Duration = Duration::from_secs(1);
        let (stopper, stop) = pair();
        let started = now();
        time_is_up(started, Some(SECOND), stop.clone()).await;
        assert_eq!(started.elapsed(), SECOND);
        tokio::time::advance(4 * SECOND).await;
        time_is_up(started, Some(3 * SECOND), stop.clone()).await;
        assert_eq!(started.elapsed(), 5 * SECOND, "it is over");
        stopper.request();
        for duration in [None, Some(SECOND * 60), Some(Duration::MAX)] {
            time_is_up(started, duration, stop.clone()).await;
        }
        assert_eq!(started.elapsed(), 5 * SECOND, "the end is asked for");
    }
}
