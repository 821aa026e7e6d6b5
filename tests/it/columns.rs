//! What the command prints fits a terminal of 80 columns, that nobody has made wider.

use crate::command::{fresh, telepool};

const COLUMNS: usize = 80;

/// What a command prints, all of which has to fit.
fn printed(arguments: &[&str]) -> String {
    let mut command = telepool(arguments);
    // As wide as it may be: a width that is asked for otherwise is no reason to break lines late.
    let output = command.env("COLUMNS", "200").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for line in text.lines() {
        assert!(line.chars().count() <= COLUMNS, "{arguments:?}: {line}");
    }
    text
}

/// The subcommands that a help lists.
fn subcommands(help: &str) -> Vec<String> {
    let list = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.is_empty());
    // What is indented further goes on with the line before.
    let named = lines.filter_map(|line| line.strip_prefix("  ").filter(|it| !it.starts_with(' ')));
    let names = named.map(|line| line.split(' ').next().unwrap_or_default().to_owned());
    names.filter(|name| name != "help").collect()
}

fn look(path: &[&str], seen: &mut Vec<String>) {
    let short = printed(&[path, &["-h"]].concat());
    let long = printed(&[path, &["--help"]].concat());
    assert_eq!(subcommands(&short), subcommands(&long));
    seen.push(path.join(" "));
    for name in subcommands(&long) {
        look(&[path, &[&name]].concat(), seen);
    }
}

#[test]
fn the_help_of_every_subcommand_fits() {
    let mut seen = Vec::new();
    look(&[], &mut seen);
    for known in [
        "",
        "serve",
        "state",
        "state list",
        "state reinstate",
        "token",
        "token create",
        "token list",
        "token revoke",
        "datacenter",
        "config",
    ] {
        assert!(seen.iter().any(|path| path == known), "{known} is among {seen:?}");
    }
}

#[test]
fn the_configuration_fits_and_says_where_each_value_is_from() {
    let text = printed(&["config", "--set", "pool.max_idle_time=5m"]);
    assert!(text.contains("(--set)\nmax_idle_time = 300"), "{text}");
    assert!(text.contains("[data_centres]\n# data centre 1 (default)\n1 = "), "{text}");
    // Also what is given with it is read again.
    let file = fresh("columns.toml");
    std::fs::write(&file, &text).unwrap();
    assert!(
        printed(&["config", "--config", file.to_str().unwrap()]).contains("max_idle_time = 300")
    );
    std::fs::remove_file(file).unwrap();
}

#[test]
fn the_list_of_quarantines_fits_with_the_longest_account_slot_and_reason() {
    let state = fresh("columns-state.jsonl");
    let reasons =
        ["key_duplicated", "needs_login", "deactivated", "suspect", "dead", "misconfigured"];
    let lines: String = (58..).zip(reasons).fold(String::new(), |lines, (slot, reason)| {
        lines
            + &format!(
                "{{\"account\":\"+999600000000123\",\"slot\":{slot},\"key_id\":\"{slot:016x}\",\
                 \"reason\":\"{reason}\",\"since\":1798117230}}\n"
            )
    });
    std::fs::write(&state, lines).unwrap();
    let text = printed(&["state", "list", "--state", state.to_str().unwrap()]);
    for reason in reasons {
        assert!(text.contains(&format!("\n{reason}: ")), "{reason}: {text}");
    }
    assert_eq!(text.matches("+999600000000123").count(), reasons.len());
    std::fs::remove_file(state).unwrap();
}

#[test]
fn the_list_of_tokens_fits_with_a_name_of_24_characters_and_all_scopes() {
    let tokens = fresh("columns-tokens.jsonl");
    let path = tokens.to_str().unwrap();
    let mut create = vec!["token", "create", "--file", path, "--name=a-dashboard-of-somewhere"];
    create.extend(["--scope=read", "--scope=operate", "--scope=call", "--phones"]);
    let groups: Vec<String> = (0..30).map(|number| format!("--group=group-{number}")).collect();
    create.extend(groups.iter().map(String::as_str));
    assert!(telepool(&create).status().unwrap().success());
    let text = printed(&["token", "list", "--file", path]);
    assert!(text.contains("read,operate,call") && text.contains("group-29"), "{text}");
    for path in [tokens.clone(), tokens.with_extension("jsonl.lock")] {
        std::fs::remove_file(path).unwrap();
    }
}
