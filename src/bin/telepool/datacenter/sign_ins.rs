//! Accounts of the sandbox that have no session yet, for clients that sign in.
//!
//! Owns who they are, and the file in which a client finds all that it needs.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use telepool::AccountId;
use telepool::sandbox::DataCentre;

use super::create;
use crate::failure::Failure;
use crate::settings::count;

/// Numbers that begin so are Telegram's own for tests: the next digit, five times, is the code of each.
const FIRST_PHONE: u64 = 9_996_610_000;
/// How far the numbers of one digit reach.
const DIGIT_APART: u64 = 10_000;
const FIRST_BOT: u64 = 7_000_000_000;

#[derive(Debug, Args)]
pub(super) struct SignInAccounts {
    /// Where to write what a client needs to sign in (JSON): addresses, public key, phone numbers with their codes,
    /// tokens of bots. It must not exist yet.
    #[arg(long, value_name = "FILE")]
    sign_ins: Option<PathBuf>,
    /// How many people without any session there are to sign in, and half as many bots.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = count::<u64>(1..=10_000))]
    #[arg(requires = "sign_ins")]
    people: u64,
    /// The password that each of these people has.
    #[arg(long, value_name = "TEXT", requires = "sign_ins")]
    password: Option<String>,
    /// Where to write the public key alone, in the form (PEM) that telepool login takes. It must not exist yet.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
}

impl SignInAccounts {
    /// Creates them, each at home at one of the data centres in turn, and writes the files.
    pub(super) fn write(&self, centres: &[DataCentre]) -> Result<(), Failure> {
        let public_key = DataCentre::public_key().to_pem();
        if let Some(path) = &self.public_key {
            write(path, "--public-key", &public_key)?;
        }
        let Some(path) = &self.sign_ins else { return Ok(()) };
        let home = |number: u64| {
            let at = usize::try_from(number).unwrap_or(0) % centres.len();
            &centres[at]
        };
        let people = (0..self.people).map(|number| {
            let (digit, place) = (number % 9, number / 9);
            let phone = FIRST_PHONE + digit * DIGIT_APART + place;
            let account = AccountId::phone(phone).expect("BUG: the numbers are fixed and valid");
            let centre = home(number);
            centre.create_account(account);
            if let Some(password) = &self.password {
                centre.set_password(account, Some(password), None);
            }
            json!({
                "phone": account.reveal().to_string(),
                "code": (digit + 1).to_string().repeat(5),
                "password": self.password,
                "dc": centre.number(),
            })
        });
        let people: Vec<_> = people.collect();
        let bots = (0..self.people / 2).map(|number| {
            let bot = AccountId::bot(FIRST_BOT + number).expect("BUG: these are valid");
            let centre = home(number);
            json!({
                "id": FIRST_BOT + number,
                "token": centre.bot_token(bot),
                "dc": centre.number(),
            })
        });
        let centres = centres.iter().map(
            |centre| json!({ "dc": centre.number(), "address": centre.address().to_string() }),
        );
        let all = json!({
            "data_centres": centres.collect::<Vec<_>>(),
            "public_key": public_key,
            "people": people,
            "bots": bots.collect::<Vec<_>>(),
        });
        let text = serde_json::to_string_pretty(&all).expect("BUG: texts always make JSON");
        write(path, "--sign-ins", &(text + "\n"))
    }
}

fn write(path: &Path, argument: &str, text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let written = create(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| Failure::refused(format!("{argument} {}: {error}", path.display())))
}
