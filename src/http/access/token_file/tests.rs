use std::path::PathBuf;

use super::*;
use crate::http::access::Scope;
use tempfile::TempDir;

struct Bench {
    folder: TempDir,
    file: TokenFile,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::at(folder.path().join("tokens.jsonl"));
        Self { folder, file }
    }

    fn create(&self, name: &str) -> Result<(Token, TokenRecord), TokenFileError> {
        self.file.create(TokenGrant::new(name, [Scope::Read]))
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file.path()).unwrap()
    }

    fn write(&self, text: &str) {
        std::fs::write(self.file.path(), text).unwrap();
    }

    fn names(&self) -> Vec<String> {
        self.file.read().unwrap().into_iter().map(|it| it.grant.name).collect()
    }

    /// What is in the folder besides the file and its lock.
    fn rest(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir(self.folder.path()).unwrap().map(|it| it.unwrap().path());
        all.filter(|path| !path.to_str().unwrap().contains("tokens.jsonl")).collect()
    }
}

#[test]
fn a_token_is_kept_as_its_hash_and_read_as_it_was_made() {
    let bench = Bench::new();
    let mut grant = TokenGrant::new("grafana \"1\"", [Scope::Read, Scope::Operate]);
    grant.groups = Some(vec!["bots".into(), "Zürich".into()]);
    (grant.phones, grant.expires) = (true, Some(99_999_999_999));
    let (token, made) = bench.file.create(grant.clone()).unwrap();
    bench.create("other").unwrap();
    let text = bench.text();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(!text.contains(&token.reveal()[12..]), "no secret is in it");
    assert!(text.contains(&token.id().to_string()));
    let read = bench.file.read().unwrap().remove(0);
    assert_eq!((read.id, &read.grant, read.created), (token.id(), &grant, made.created));
    assert!(read.hash.is(&TokenHash::of(token.reveal())));
    assert_eq!((read.is_expired(99_999_999_998), read.is_expired(99_999_999_999)), (false, true));
    assert!(bench.rest().is_empty(), "{:?}", bench.rest());
    assert!(!format!("{read:?}").contains(&made.hash.text()), "nor is a hash shown");
}

#[test]
fn a_token_is_revoked_by_its_name_or_its_id() {
    let bench = Bench::new();
    let ids = ["a", "b", "c"].map(|name| bench.create(name).unwrap().1.id.to_string());
    assert_eq!(bench.file.revoke("b").unwrap().id.to_string(), ids[1]);
    assert_eq!(bench.file.revoke(&ids[0]).unwrap().grant.name, "a");
    assert_eq!(bench.names(), ["c"]);
    for other in ["b", &ids[0], "", "C"] {
        let error = bench.file.revoke(other).unwrap_err();
        assert!(matches!(error, TokenFileError::NoSuchToken { .. }), "{other}: {error}");
    }
    bench.create(&ids[2]).unwrap();
    let error = bench.file.revoke(&ids[2]).unwrap_err();
    assert!(matches!(error, TokenFileError::Ambiguous { .. }), "{error}");
    bench.file.revoke("c").unwrap();
    bench.file.revoke(&ids[2]).unwrap();
    assert_eq!((bench.text(), bench.names()), (String::new(), Vec::new()));
}

#[test]
fn what_can_be_no_token_changes_nothing() {
    let bench = Bench::new();
    bench.create("a").unwrap();
    let before = bench.text();
    assert!(matches!(bench.create("a").unwrap_err(), TokenFileError::NameTaken { .. }));
    for name in ["", "a\nb", "loopback"] {
        assert!(matches!(bench.create(name).unwrap_err(), TokenFileError::Grant(_)), "{name:?}");
    }
    let mut ended = TokenGrant::new("b", [Scope::Read]);
    ended.expires = Some(1);
    let error = bench.file.create(ended).unwrap_err();
    assert!(matches!(error, TokenFileError::Grant(GrantError::Expired)), "{error}");
    assert_eq!(bench.text(), before);
}

#[test]
fn a_line_that_is_not_wholly_understood_spoils_the_file() {
    let bench = Bench::new();
    bench.create("a").unwrap();
    let line = bench.text();
    let id = bench.file.read().unwrap()[0].id.to_string();
    for (bad, words) in [
        ("{".to_owned(), "no JSON object"),
        ("[]".to_owned(), "line 2"),
        (line.replace("\"expires\":null,", ""), "is missing, unknown"),
        (line.replace("\"groups\":null,", ""), "is missing, unknown"),
        (line.replace("\"phones\"", "\"phone\""), "is missing, unknown"),
        (line.replace("{\"id\"", "{\"admin\":true,\"id\""), "is missing, unknown"),
        (line.replace("[\"read\"]", "[\"read\",\"root\"]"), "scopes: each is"),
        (line.replace("[\"read\"]", "[]"), "needs a scope"),
        (line.replace("\"groups\":null", "\"groups\":[]"), "1 to 256 groups"),
        (line.replace("\"sha256\":\"", "\"sha256\":\"0"), "64 hexadecimal digits"),
        (line.replace(&id, "k3f"), "id: the id of a token is 8"),
        (line.replace("\"a\"", "\"\""), "is empty"),
        (line.clone(), "is there twice"),
        (line.replace(&id, "aaaaaaaa"), "the name \"a\" is there twice"),
    ] {
        bench.write(&format!("{line}{bad}"));
        let error = bench.file.read().unwrap_err().to_string();
        assert!(error.contains("line 2: ") && error.contains(words), "{bad}: {error}");
        assert!(error.contains("mend that line"), "{error}");
        assert!(bench.create("b").is_err() && bench.file.revoke("a").is_err(), "{bad}");
        assert_eq!(bench.text(), format!("{line}{bad}"), "it is left alone");
    }
    bench.write(&format!("\u{feff}\r\n{}\r\n\n", line.trim_end()));
    assert_eq!(bench.names(), ["a"], "as an editor saves it");
    let secret = Token::generate().unwrap();
    bench.write(&format!("{}\n", secret.reveal()));
    let error = bench.file.read().unwrap_err().to_string();
    assert!(!error.contains(&secret.reveal()[12..]), "no line is repeated: {error}");
}

#[test]
fn what_is_no_file_of_tokens_is_named() {
    let bench = Bench::new();
    let error = bench.file.read().unwrap_err().to_string();
    assert!(error.contains("make it with telepool token create"), "{error}");
    assert!(bench.file.revoke("a").is_err());
    assert!(bench.rest().is_empty() && !bench.file.path().exists(), "nothing is made");
    std::fs::write(bench.file.path(), b"\xff\xfe").unwrap();
    private(bench.file.path());
    assert!(bench.file.read().unwrap_err().to_string().contains("no text in UTF-8"));
    std::fs::File::create(bench.file.path()).unwrap().set_len(1 << 40).unwrap();
    private(bench.file.path());
    assert!(bench.file.read().unwrap_err().to_string().contains("longer than 16 MiB"));
    let folder = TokenFile::at(bench.folder.path());
    assert!(folder.read().unwrap_err().to_string().contains("no plain file"));
    let nowhere = TokenFile::at(bench.folder.path().join("none/tokens"));
    let error = nowhere.create(TokenGrant::new("a", [Scope::Read])).unwrap_err().to_string();
    assert!(error.contains("in a folder that is there"), "{error}");
}

fn private(path: &Path) {
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_use_is_refused_and_a_new_one_is_its_owners_alone() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    let bench = Bench::new();
    bench.create("a").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(bench.file.path()), 0o600);
    assert_eq!(mode(&bench.folder.path().join("tokens.jsonl.lock")), 0o600);
    for open in [0o640, 0o604, 0o620, 0o601, 0o666] {
        let permissions = std::fs::Permissions::from_mode(open);
        std::fs::set_permissions(bench.file.path(), permissions).unwrap();
        for error in [
            bench.file.read().unwrap_err(),
            bench.create("b").unwrap_err(),
            bench.file.revoke("a").unwrap_err(),
        ] {
            let told = error.to_string();
            let mode = format!("mode {open:04o}");
            assert!(told.contains(&mode) && told.contains("chmod 600"), "{told}");
        }
    }
    std::fs::set_permissions(bench.file.path(), std::fs::Permissions::from_mode(0o400)).unwrap();
    bench.create("b").unwrap();
    assert_eq!(bench.names(), ["a", "b"], "one that nobody may write is replaced");
    bench.file.revoke("a").unwrap();
    assert_eq!(mode(bench.file.path()), 0o600);
}

#[cfg(unix)]
#[test]
fn a_link_to_the_file_stays_one() {
    let bench = Bench::new();
    bench.create("a").unwrap();
    let link = bench.folder.path().join("link");
    std::os::unix::fs::symlink(bench.file.path(), &link).unwrap();
    TokenFile::at(&link).create(TokenGrant::new("b", [Scope::Read])).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(bench.names(), ["a", "b"]);
}

#[cfg(unix)]
#[test]
fn a_link_to_a_file_that_is_not_there_yet_stays_one_and_leads_to_the_same_lock() {
    let bench = Bench::new();
    let link = bench.folder.path().join("link");
    std::os::unix::fs::symlink("tokens.jsonl", &link).unwrap();
    let linked = TokenFile::at(&link);
    linked.create(TokenGrant::new("a", [Scope::Read])).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(bench.names(), ["a"]);
    let held = disk::lock(bench.file.path()).unwrap();
    assert!(matches!(linked.revoke("a").unwrap_err(), TokenFileError::InUse { .. }));
    drop(held);
    assert!(!bench.folder.path().join("link.lock").exists());
    for (name, target) in [("a loop", "a loop"), ("to a folder", ".")] {
        let path = bench.folder.path().join(name);
        std::os::unix::fs::symlink(target, &path).unwrap();
        let made = TokenFile::at(&path).create(TokenGrant::new("a", [Scope::Read]));
        let error = made.unwrap_err().to_string();
        assert!(error.contains("it is a ") && error.contains("name the file"), "{error}");
    }
}

#[test]
fn of_two_writers_one_waits_for_its_turn() {
    let bench = Bench::new();
    bench.create("a").unwrap();
    let held = disk::lock(bench.file.path()).unwrap();
    for error in [bench.create("b").unwrap_err(), bench.file.revoke("a").unwrap_err()] {
        assert!(matches!(error, TokenFileError::InUse { .. }), "{error}");
    }
    assert_eq!(bench.names(), ["a"], "a reader is not kept waiting");
    drop(held);
    bench.create("b").unwrap();
    // Of many who try again and again none undoes what another has done.
    std::thread::scope(|scope| {
        for number in 0..8 {
            let bench = &bench;
            scope.spawn(move || {
                let name = format!("n{number}");
                while matches!(bench.create(&name), Err(TokenFileError::InUse { .. })) {
                    std::thread::yield_now();
                }
            });
        }
    });
    assert_eq!(bench.names().len(), 10);
}
