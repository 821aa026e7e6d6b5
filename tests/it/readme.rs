//! What the README says of the settings is true.

use telepool::Config;
use telepool::config::Setting;

#[test]
fn the_table_of_settings_is_complete_and_its_defaults_are_right() {
    let readme = include_str!("../../README.md");
    let defaults = Config::default();
    let rows = readme.lines().filter(|line| line.starts_with("| `") && line.contains('.'));
    let settings: Vec<_> = rows
        .filter(|row| Setting::all().iter().any(|it| row.contains(&format!("| `{}` |", it.key))))
        .collect();
    assert_eq!(settings.len(), Setting::all().len(), "a setting is missing or told twice");
    for setting in Setting::all() {
        let row = format!("| `{}` | {} |", setting.key, defaults.text(setting.key).unwrap());
        assert!(readme.contains(&row), "the README should say {row}");
    }
}
