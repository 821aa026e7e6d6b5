//! What is given to a command in secret: by a variable, by a file that a variable names, or by the service manager.
//!
//! Owns the names and their order. Never repeats a value, and never takes one from the arguments, which all users of
//! the machine can see.

use std::path::Path;

use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::input;

/// Where systemd keeps what `LoadCredential=` gives a service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// Whose variables are read: telepool's own, and those that other programs have for the same.
const PREFIXES: [&str; 2] = ["TELEPOOL_", "TELEGRAM_"];

/// A value by its name, such as `API_HASH`: of `TELEPOOL_API_HASH`, `TELEGRAM_API_HASH`, the first line of the file that
/// either of them with `_FILE` names, or the credential `api_hash`.
pub(crate) fn given(name: &str) -> Result<Option<Zeroizing<String>>, Failure> {
    let variables = PREFIXES.iter().flat_map(|prefix| {
        let variable = format!("{prefix}{name}");
        let of_file = format!("{variable}_FILE");
        [(variable, false), (of_file, true)]
    });
    let mut set = variables.filter_map(|(variable, is_file)| {
        let value = std::env::var_os(&variable).filter(|value| !value.is_empty())?;
        Some((variable, is_file, value))
    });
    match (set.next(), set.next()) {
        (Some((one, ..)), Some((other, ..))) => {
            Err(Failure::refused(format!("{one} and {other} are both set: leave one of them away")))
        }
        (Some((variable, true, path)), None) => of_file(&variable, Path::new(&path)).map(Some),
        (Some((variable, false, value)), None) => match value.into_string() {
            // A password may begin or end with a blank.
            Ok(value) => Ok(Some(Zeroizing::new(value))),
            Err(_) => Err(Failure::refused(format!("{variable} is no text"))),
        },
        (None, _) => of_service_manager(name),
    }
}

fn of_file(source: &str, path: &Path) -> Result<Zeroizing<String>, Failure> {
    let line = input::first_line(path);
    line.map_err(|error| Failure::refused(format!("{source}: {}: {error}", path.display())))
}

fn of_service_manager(name: &str) -> Result<Option<Zeroizing<String>>, Failure> {
    let Some(folder) = std::env::var_os(CREDENTIALS) else { return Ok(None) };
    let path = Path::new(&folder).join(name.to_lowercase());
    if path.exists() { of_file(CREDENTIALS, &path).map(Some) } else { Ok(None) }
}
