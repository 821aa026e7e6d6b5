//! `telepool datacenter`: the sandbox alone, for any MTProto client.

mod sign_ins;

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use telepool::sandbox::DataCentreOptions;
use telepool::session::{SessionRecord, lines};

use crate::clock::now;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::runtime;
use crate::sandbox::{Sandbox, SandboxArguments};
use crate::settings::{address, count, time};
use crate::signals::Stop;
use crate::stdout;
use crate::{logs, signals, status};

use self::sign_ins::SignInAccounts;

#[derive(Debug, Args)]
pub(crate) struct DatacenterArguments {
    /// The loopback address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", value_parser = address)]
    listen: SocketAddr,
    /// Where to write the sessions, one JSON line each. It must not exist yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How long to run; without it, until Ctrl-C.
    #[arg(long, value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
    /// Ends when standard input does too, as it does with the process at its other end.
    #[arg(long)]
    until_eof: bool,
    /// How many data centres there are: the first has the accounts with sessions and the number 2, and the others listen
    /// on free ports.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count::<usize>(1..=5))]
    data_centres: usize,
    #[command(flatten)]
    sign_ins: SignInAccounts,
    #[command(flatten)]
    sandbox: SandboxArguments,
}

/// Runs until it is told to end; prints the numbers as JSON then.
pub(crate) fn run(arguments: DatacenterArguments) -> Result<ExitCode, Failure> {
    let plan = arguments.sandbox.fault_plan()?;
    if arguments.out.exists() {
        let shown = arguments.out.display();
        return Err(Failure::refused(format!(
            "--out {shown}: it exists, and sessions are not overwritten: choose another file"
        )));
    }
    logs::start(&status::hidden())?;
    runtime::multi_thread()?.block_on(async {
        let (stopper, stop) = signals::listen()?;
        if arguments.until_eof {
            signals::at_end_of_input(move || stopper.request());
        }
        let Sandbox { data_centre, sessions, seed } =
            arguments.sandbox.start(arguments.listen, plan, &stop).await?;
        let mut centres = vec![data_centre.clone()];
        for dc in [1, 3, 4, 5].into_iter().take(arguments.data_centres - 1) {
            let mut options = DataCentreOptions::default();
            (options.dc, options.latency) = (dc, arguments.sandbox.latency());
            let beside = data_centre.start_beside(options).await;
            centres.push(beside.map_err(|error| Failure::broken(error.to_string()))?);
        }
        arguments.sign_ins.write(&centres)?;
        let shown = arguments.out.display();
        write(&arguments.out, &sessions, &stop)?;
        say!(
            "telepool: the data centre listens on {}, {} sessions of {} accounts are in {shown} \
             (seed {seed}); Ctrl-C ends it",
            data_centre.address(),
            sessions.len(),
            arguments.sandbox.accounts(),
        );
        for beside in &centres[1..] {
            say!("telepool: data centre {} listens on {}", beside.number(), beside.address());
        }
        drop(sessions);
        signals::time_is_up(now(), arguments.duration, stop).await;
        let mut is_sound = true;
        for centre in &centres {
            centre.stop().await;
            let stats = centre.stats();
            let json = serde_json::to_string(&stats).expect("BUG: numbers always make JSON");
            stdout::print(&(json + "\n"))?;
            is_sound &= stats.key_violations == 0;
        }
        Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// Makes a new file that only its owner may read.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Writes the sessions into a new file that only its owner may read: keys are in it. Unless all of them are
/// in it, it does not stay.
fn write(path: &Path, sessions: &[SessionRecord], stop: &Stop) -> Result<(), Failure> {
    let refuse = |error| Failure::refused(format!("--out {}: {error}", path.display()));
    let mut file = BufWriter::new(create(path).map_err(refuse)?);
    let mut progress = Progress::new("writing sessions", sessions.len() as u64, stop);
    let mut fill = || {
        for (number, session) in (0..).zip(sessions) {
            progress.reach(number)?;
            lines::write_line(&mut file, session).map_err(refuse)?;
        }
        file.flush().map_err(refuse)
    };
    fill().inspect_err(|_| drop(std::fs::remove_file(path)))
}
