//! Tests of settings from every source.

use std::ffi::OsString;

use telepool::session::DataCentres;
use telepool::telegram::Engine;

use super::count;
use super::merge::{load, merge_file, merge_variable};
use super::values::Settings;

fn merged(file: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Settings, String> {
    let mut settings = Settings::default();
    merge_file(&mut settings, file, "file")?;
    for (name, value) in variables {
        merge_variable(&mut settings, &OsString::from(name), &OsString::from(value))?;
    }
    for flag in flags {
        let (key, value) = flag.split_once('=').unwrap();
        settings.set(key, value, "--set")?;
    }
    Ok(settings)
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let file = "[pool]\nmax_idle_time = \"1m\"\nmax_connections = 7\nage_jitter = 0.2";
    let variables = [("TELEPOOL_POOL__MAX_CONNECTIONS", "8"), ("TELEPOOL_API_ID", "1")];
    let settings = merged(
        file,
        &[variables[0], variables[1], ("TELEPOOL_POOL__MAX_IDLE_TIME", "2m")],
        &["pool.max_idle_time=3m"],
    )
    .unwrap();
    assert_eq!(settings.config.pool.max_idle_time.as_secs(), 180);
    assert_eq!(settings.config.pool.max_connections, 8);
    assert_eq!(settings.origins["pool.max_idle_time"], "--set");
    assert_eq!(settings.origins["pool.age_jitter"], "file");
}

#[test]
fn the_former_names_are_read_and_the_present_ones_win() {
    let file = "[monitoring]\nmax_connection_idle_time = 60\nmax_connections_per_account = 2";
    let settings = merged(file, &[], &[]).unwrap();
    assert_eq!(settings.config.pool.max_idle_time.as_secs(), 60);
    assert_eq!(settings.config.pool.max_connections_per_account, 2);
    let both = format!("{file}\n[pool]\nmax_idle_time = 90");
    assert_eq!(merged(&both, &[], &[]).unwrap().config.pool.max_idle_time.as_secs(), 90);
}

#[test]
fn a_variable_that_was_meant_for_a_setting_is_not_ignored() {
    let error = merged("", &[("TELEPOOL_POOL_MAX_IDLE_TIME", "7m")], &[]).unwrap_err();
    assert!(error.contains("TELEPOOL_POOL__MAX_IDLE_TIME"), "{error}");
}

#[test]
fn a_number_that_is_none_is_told_what_it_may_be() {
    let read = count::<u32>(1..=100_000);
    assert_eq!((read("1000"), read(" 7 ")), (Ok(1000), Ok(7)));
    for text in ["1k", "1-3", "", "0", "100001", "-1", "1e3", "99999999999999999999"] {
        let error = read(text).unwrap_err();
        assert!(error.contains("a whole number from 1 to 100000"), "{text}: {error}");
    }
}

#[test]
fn an_empty_variable_is_none() {
    for value in ["", " "] {
        let variables = [
            ("TELEPOOL_POOL__MAX_IDLE_TIME", value),
            ("TELEPOOL_DATA_CENTRES__2", value),
            ("TELEPOOL_TELEGRAM__REDIAL_AFTER_LOSS", value),
            ("TELEPOOL_POOL_MAX_IDLE_TIME", value),
        ];
        let settings = merged("[pool]\nmax_idle_time = 60", &variables, &[]).unwrap();
        assert_eq!(settings.config.pool.max_idle_time.as_secs(), 60);
        assert_eq!(settings.origins["pool.max_idle_time"], "file");
        assert_eq!(settings.data_centres, DataCentres::production());
    }
    assert!(merged("[pool]\nmax_idle_time = ''", &[], &[]).is_err(), "in a file it says nothing");
}

#[test]
fn quotes_around_a_value_are_named() {
    for name in [
        "TELEPOOL_POOL__MAX_IDLE_TIME",
        "TELEPOOL_TELEGRAM__REDIAL_AFTER_LOSS",
        "TELEPOOL_DATA_CENTRES__2",
    ] {
        for value in ["\"5m\"", "'5m'", " \"5m\" ", "\"\""] {
            let error = merged("", &[(name, value)], &[]).unwrap_err();
            assert!(error.contains(name) && error.contains("has quotes around it"), "{error}");
        }
    }
}

#[test]
fn what_may_be_a_secret_in_the_wrong_place_is_not_repeated() {
    let secret = "12345:0123456789abcdef0123456789abcdef";
    let own = ["telegram.redial_after_loss", "telegram.engine"];
    for key in ["pool.max_idle_time", "data_centres.2"].into_iter().chain(own) {
        let (section, name) = key.split_once('.').unwrap();
        let variable = format!("TELEPOOL_{section}__{name}").to_uppercase();
        let flag = format!("{key}={secret}");
        for error in [
            merged(&format!("[{section}]\n{name} = '{secret}'"), &[], &[]).unwrap_err(),
            merged(&format!("[{section}]\n{name} = ['{secret}']"), &[], &[]).unwrap_err(),
            merged("", &[(&variable, secret)], &[]).unwrap_err(),
            merged("", &[], &[&flag]).unwrap_err(),
        ] {
            assert!(error.contains(key) && !error.contains("abcdef"), "{error}");
        }
    }
    let none = std::iter::empty();
    let error = load(Settings::default(), None, &[secret.to_owned()], none).unwrap_err();
    assert!(error.contains("KEY=VALUE") && !error.contains("abcdef"), "{error}");
}

#[test]
fn data_centres_have_a_table_of_their_own() {
    let file = "[data_centres]\n2 = \"127.0.0.1:1\"\n9 = \"127.0.0.1:9\"";
    let settings = merged(file, &[], &["data_centres.2=127.0.0.1:2"]).unwrap();
    let address = |dc| settings.data_centres().address(dc).unwrap().to_string();
    assert_eq!((address(2), address(9)), ("127.0.0.1:2".into(), "127.0.0.1:9".into()));
    assert_eq!(address(1), DataCentres::production().address(1).unwrap().to_string());
    assert!(settings.to_string().contains("2 = \"127.0.0.1:2\""));
    assert_eq!(settings.data_centres().test_address(2), settings.data_centres().address(2));
    for file in ["[data_centres]\n0 = \"127.0.0.1:1\"", "[data_centres]\n1 = \"here\""] {
        assert!(merged(file, &[], &[]).unwrap_err().contains("file: data_centres."));
    }
}

#[test]
fn a_data_centre_has_one_spelling_only() {
    for (number, table) in [
        ("02", "02 = '127.0.0.1:1'\n2 = '127.0.0.1:2'"),
        ("02", "02 = '127.0.0.1:1'"),
        ("+2", "'+2' = '127.0.0.1:1'"),
    ] {
        let error = merged(&format!("[data_centres]\n{table}"), &[], &[]).unwrap_err();
        assert!(error.contains(&format!("data_centres.{number} = ")), "{error}");
        assert!(error.contains("write its number as data_centres.2"), "{error}");
    }
    let error = merged("", &[("TELEPOOL_DATA_CENTRES__02", "127.0.0.1:1")], &[]).unwrap_err();
    assert!(error.contains("__02: data_centres.02 = 127.0.0.1:1: write"), "{error}");
    let secret = "5".repeat(40);
    let error = merged(&format!("[data_centres]\n{secret} = 'x'"), &[], &[]).unwrap_err();
    assert!(!error.contains("555") && error.contains("from 1 to 255"), "{error}");
}

#[test]
fn a_check_that_never_comes_is_doubted_where_somebody_has_asked_for_it() {
    let doubt = |flags: &[&str]| merged("", &[], flags).unwrap().doubt();
    let told = doubt(&["pool.check_after_idle=60", "pool.max_idle_time=5"]).unwrap();
    assert!(told.contains("pool.check_after_idle = 60s is not below pool.max_idle_time = 5s"));
    assert_eq!(doubt(&["pool.max_idle_time=5"]), None, "the default follows nobody");
    assert_eq!(doubt(&["pool.check_after_idle=4", "pool.max_idle_time=5"]), None);
}

#[test]
fn what_is_printed_is_read_again() {
    let printed = Settings::for_sandbox().to_string();
    let again = merged(&printed, &[], &[]).unwrap();
    assert_eq!((again.config.dial.per_second, again.engine()), (2000, Engine::Wire));
    assert_eq!(again.data_centres, DataCentres::production());
}

#[test]
fn what_is_wrong_is_named_with_its_origin() {
    for (file, words) in [
        ("[pool]\nmax_idle_tine = 5", "did you mean pool.max_idle_time"),
        ("[pool]\nmax_connections = 0", "pool.max_connections = 0: must be"),
        ("[pool]\nmax_connections = true", "must be a number"),
        ("max_connections = 5", "outside a section"),
        ("[pool", "file:"),
        (
            "pool:\n  max_connections: 5\n",
            "a configuration is TOML, as `telepool config` prints one",
        ),
        ("[data_centers]\n2 = '1.2.3.4:5'", "did you mean data_centres.2?"),
        (
            "[telegram]\nengin = 'wire'",
            "did you mean telegram.redial_after_loss or telegram.engine?",
        ),
        ("[database]\nurl = 5", "and of the command also telegram and data_centres"),
    ] {
        let error = merged(file, &[], &[]).unwrap_err();
        assert!(error.contains(words) && error.contains("file"), "{error}");
    }
    let error = Settings::default().set("pool", "5", "--set").unwrap_err();
    assert!(error.contains("pool is a section: name a setting of it"), "{error}");
}
