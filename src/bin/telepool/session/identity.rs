//! Identities on the command line: how sessions introduce themselves.
//!
//! Owns the presets: what libraries tell of themselves unless they are told otherwise (read in Telethon 1.45 and
//! Pyrogram 2.0).

use clap::Args;
use telepool::session::ClientIdentity;

use crate::failure::Failure;

/// No word of an identity is longer.
const WORD_LEN_MAX: usize = 128;

/// How sessions introduce themselves.
#[derive(Debug, Args)]
pub(crate) struct IdentityArguments {
    /// Introduces them as the library that has made them: telethon:VERSION or pyrogram:VERSION, as of this machine.
    #[arg(long, value_name = "LIBRARY:VERSION", conflicts_with_all = ["device", "system_version", "app_version"])]
    identity: Option<String>,
    /// The device that shows in the account's list of devices; `none` (with `set`): that of the process again.
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// The operating system that shows there.
    #[arg(long, value_name = "NAME", requires = "device")]
    system_version: Option<String>,
    /// The application's version that shows there.
    #[arg(long, value_name = "VERSION", requires = "device")]
    app_version: Option<String>,
    /// The language, of system and application (ISO 639-1).
    #[arg(long, value_name = "CODE")]
    lang: Option<String>,
}

impl IdentityArguments {
    /// What is to become of the identity: nothing, another one, or with `none` that of the process.
    pub(super) fn change(&self) -> Result<Option<Option<ClientIdentity>>, Failure> {
        match self.device.as_deref() {
            Some("none") if self.system_version.is_none() && self.app_version.is_none() => {
                Ok(Some(None))
            }
            _ => Ok(self.read()?.map(Some)),
        }
    }

    /// The identity that was asked for, if any was.
    pub(crate) fn read(&self) -> Result<Option<ClientIdentity>, Failure> {
        let mut identity = match (&self.identity, &self.device) {
            (Some(preset), _) => preset_of(preset)?,
            (None, Some(device)) => ClientIdentity::new(
                word("--device", device)?,
                word(
                    "--system-version",
                    self.system_version.as_deref().unwrap_or(std::env::consts::OS),
                )?,
                word("--app-version", self.app_version.as_deref().unwrap_or("1.0"))?,
            ),
            (None, None) if self.lang.is_some() => {
                return Err(Failure::refused(
                    "--lang belongs to --device or --identity: give the whole identity",
                ));
            }
            (None, None) => return Ok(None),
        };
        if let Some(lang) = &self.lang {
            let is_code = (2..=12).contains(&lang.len())
                && lang.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
            if !is_code {
                return Err(Failure::refused("--lang: give a code such as en, de or pt-BR"));
            }
            (identity.system_lang_code, identity.lang_code) = (lang.clone(), lang.clone());
        }
        Ok(Some(identity))
    }
}

fn word(flag: &str, text: &str) -> Result<String, Failure> {
    let is_word =
        (1..=WORD_LEN_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    match is_word {
        true => Ok(text.to_owned()),
        false => {
            Err(Failure::refused(format!("{flag}: give 1 to {WORD_LEN_MAX} printable characters")))
        }
    }
}

fn preset_of(text: &str) -> Result<ClientIdentity, Failure> {
    let refused = || {
        Failure::refused(
            "--identity: give telethon:VERSION or pyrogram:VERSION, such as telethon:1.45.0; any other by --device, \
             --system-version and --app-version",
        )
    };
    let (library, version) = text.split_once(':').ok_or_else(refused)?;
    let version = word("--identity", version)?;
    let release = system("osrelease").unwrap_or_else(|| "1.0".to_owned());
    match library {
        "telethon" => Ok(ClientIdentity::new(machine(), release, version)),
        "pyrogram" => {
            let system = system("ostype").unwrap_or_else(|| "Linux".to_owned());
            let app = format!("Pyrogram {version}");
            Ok(ClientIdentity::new("CPython 3.11.2", format!("{system} {release}"), app))
        }
        _ => Err(refused()),
    }
}

/// The machine as Python's `platform.uname().machine` has it.
fn machine() -> String {
    match std::env::consts::ARCH {
        "aarch64" if cfg!(target_os = "macos") => "arm64".to_owned(),
        // Telethon calls these so.
        "x86_64" => "PC 64bit".to_owned(),
        "x86" => "PC 32bit".to_owned(),
        other => other.to_owned(),
    }
}

/// What the kernel tells of itself.
fn system(name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
