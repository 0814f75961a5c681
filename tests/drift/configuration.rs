//! The configuration: edited in every manner, taken back, broken, loaded.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{owed, since, told, valid, watch};
use crate::harness::{Gracekeeper, Httpd, Mpm, under_every_mpm};

under_every_mpm!(a_change_is_owed_until_the_restart_that_loads_it);

fn with_directory() -> Httpd {
    let httpd = Httpd::builder(Mpm::Event).start();
    fs::create_dir(httpd.directory().join("conf.d")).unwrap();
    let include = format!("IncludeOptional {}/conf.d/*.conf\n", httpd.directory().display());
    httpd.rewrite_config(|text| text + &include);
    httpd.graceful();
    httpd
}

fn wait_for(gracekeeper: &Gracekeeper, what: &str, expected: bool) {
    gracekeeper.wait_until(what, |metrics| owed(metrics, "config") == Some(expected));
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn a_change_is_owed_until_the_restart_that_loads_it(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).start();
    let gracekeeper = watch(&httpd);
    let hash = gracekeeper.scrape().value("httpd_config_hash", &[]);
    assert!(hash.is_some());
    let before = now();
    httpd.rewrite_config(|text| text + "# a comment\n");
    let metrics = gracekeeper.wait_until("it is owed", |metrics| {
        owed(metrics, "config") == Some(true) && valid(metrics) == Some(1.0)
    });
    // The kernel stamps with the clock of its last tick.
    let since = since(&metrics, "config").unwrap();
    assert!((before - 0.02..=now()).contains(&since), "{since} is not after {before}");
    assert_eq!(metrics.value("httpd_config_hash", &[]), hash, "of what is loaded");
    assert_eq!(owed(&metrics, "limits"), Some(false));
    httpd.graceful();
    let metrics = gracekeeper.wait_until("it is loaded", |metrics| {
        owed(metrics, "config") == Some(false)
            && metrics.value("httpd_config_hash", &[]).is_some_and(|it| Some(it) != hash)
    });
    assert_eq!(super::since(&metrics, "config"), None);
    assert_eq!(told(&gracekeeper, "config"), [1, 1]);
    httpd.rewrite_config(|text| text + "# another\n");
    wait_for(&gracekeeper, "it is owed again", true);
    httpd.hard();
    wait_for(&gracekeeper, "a hard restart loads it too", false);
    assert_eq!(told(&gracekeeper, "config"), [2, 2]);
}

#[test]
fn each_manner_of_writing_a_file_is_one_change_and_taking_it_back_is_none() {
    type Manner = fn(&Path, &str);
    let manners: [(&str, Manner); 4] = [
        ("in place", |file, text| fs::write(file, text).unwrap()),
        ("another file in its place", |file, text| {
            fs::write(file.with_extension("tmp"), text).unwrap();
            fs::rename(file.with_extension("tmp"), file).unwrap();
        }),
        ("as vim does", |file, text| {
            fs::write(file.with_file_name("4913"), "").unwrap();
            fs::remove_file(file.with_file_name("4913")).unwrap();
            fs::rename(file, file.with_extension("conf~")).unwrap();
            fs::write(file, text).unwrap();
            fs::remove_file(file.with_extension("conf~")).unwrap();
        }),
        ("through a link", |file, text| {
            let target = file.with_file_name(format!("target{}", text.len()));
            fs::write(&target, text).unwrap();
            let link = file.with_extension("link");
            symlink(&target, &link).unwrap();
            fs::rename(link, file).unwrap();
        }),
    ];
    let httpd = with_directory();
    let file = httpd.directory().join("conf.d/a.conf");
    fs::write(&file, "# one\n").unwrap();
    httpd.graceful();
    let gracekeeper = watch(&httpd);
    for (number, (manner, write)) in manners.into_iter().enumerate() {
        write(&file, "# another one\n");
        wait_for(&gracekeeper, manner, true);
        write(&file, "# one\n");
        wait_for(&gracekeeper, manner, false);
        assert_eq!(told(&gracekeeper, "config"), [number + 1; 2], "{manner}");
    }
}

#[test]
fn a_file_that_comes_or_goes_is_a_change() {
    let httpd = with_directory();
    let gracekeeper = watch(&httpd);
    let file = httpd.directory().join("conf.d/new.conf");
    fs::write(file.with_extension("swp"), "x").unwrap();
    fs::write(&file, "# new\n").unwrap();
    wait_for(&gracekeeper, "the first of its directory", true);
    fs::remove_file(&file).unwrap();
    wait_for(&gracekeeper, "it is gone again", false);
    fs::write(&file, "# new\n").unwrap();
    wait_for(&gracekeeper, "it came back", true);
    httpd.graceful();
    wait_for(&gracekeeper, "it is loaded", false);
    fs::write(&file, "# newer\n").unwrap();
    wait_for(&gracekeeper, "it is followed like the others", true);
    fs::write(&file, "# new\n").unwrap();
    wait_for(&gracekeeper, "and taken back", false);
    fs::remove_file(&file).unwrap();
    wait_for(&gracekeeper, "what was loaded is gone", true);
}

#[test]
fn a_configuration_map_of_kubernetes_is_exchanged_at_once() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let mount = httpd.directory().join("map");
    let publish = |version: &str| {
        let data = mount.join(format!("..{version}"));
        fs::create_dir_all(&data).unwrap();
        for file in ["a.conf", "b.conf"] {
            fs::write(data.join(file), format!("# {version}\n")).unwrap();
        }
        symlink(format!("..{version}"), mount.join("..data_tmp")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    };
    publish("1");
    for file in ["a.conf", "b.conf"] {
        symlink(format!("..data/{file}"), mount.join(file)).unwrap();
    }
    httpd.rewrite_config(|text| format!("{text}Include {}/*.conf\n", mount.display()));
    httpd.graceful();
    let gracekeeper = watch(&httpd);
    publish("2");
    fs::remove_dir_all(mount.join("..1")).unwrap();
    wait_for(&gracekeeper, "another version is published", true);
    httpd.graceful();
    wait_for(&gracekeeper, "it is loaded", false);
    assert_eq!(told(&gracekeeper, "config"), [1, 1]);
}

#[test]
fn a_configuration_that_would_not_load_is_told_before_anybody_tries() {
    let httpd = with_directory();
    let gracekeeper = watch(&httpd);
    let file = httpd.directory().join("conf.d/broken.conf");
    fs::write(&file, "Nonsense on\n").unwrap();
    gracekeeper.wait_until("it is broken", |metrics| {
        valid(metrics) == Some(0.0) && owed(metrics, "config") == Some(true)
    });
    fs::write(&file, "# mended\n").unwrap();
    gracekeeper.wait_until("it is mended, and not loaded", |metrics| {
        valid(metrics) == Some(1.0) && owed(metrics, "config") == Some(true)
    });
    fs::remove_file(&file).unwrap();
    gracekeeper.wait_until("it is as it was", |metrics| {
        valid(metrics) == Some(1.0) && owed(metrics, "config") == Some(false)
    });
}

#[test]
fn a_main_configuration_that_is_gone_is_invalid_too() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = watch(&httpd);
    let away = httpd.directory().join("away.conf");
    fs::rename(httpd.configuration_file(), &away).unwrap();
    gracekeeper.wait_until("it is gone", |metrics| {
        valid(metrics) == Some(0.0) && owed(metrics, "config") == Some(true)
    });
    fs::rename(&away, httpd.configuration_file()).unwrap();
    gracekeeper.wait_until("it is back", |metrics| {
        valid(metrics) == Some(1.0) && owed(metrics, "config") == Some(false)
    });
}

#[test]
fn an_operator_who_edits_in_haste_is_told_of_what_lies_there_in_the_end() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = watch(&httpd);
    let original = fs::read_to_string(httpd.configuration_file()).unwrap();
    for number in 0..8 {
        let text = format!("{original}# {number}\n");
        httpd.rewrite_config(|_| text);
        gracekeeper.wait_until("this edit is owed", |metrics| {
            owed(metrics, "config") == Some(true) && valid(metrics) != Some(0.0)
        });
    }
    httpd.rewrite_config(|_| format!("{original}Lisen 1\n"));
    gracekeeper.wait_until("it is asked about in the end", |metrics| valid(metrics) == Some(0.0));
    httpd.rewrite_config(|_| original);
    gracekeeper.wait_until("it was taken back", |metrics| {
        owed(metrics, "config") == Some(false) && valid(metrics) != Some(0.0)
    });
}

#[test]
fn limits_that_a_restart_ignores_stay_owed_after_it() {
    let httpd = Httpd::builder(Mpm::Event).server_limit(8).start();
    let gracekeeper = watch(&httpd);
    let set = |from: &str, to: &str| {
        httpd.rewrite_config(|text| text.replace(from, to));
    };
    set("ServerLimit 8\n", "ServerLimit 9\n");
    gracekeeper.wait_until("both are owed", |metrics| {
        owed(metrics, "limits") == Some(true) && owed(metrics, "config") == Some(true)
    });
    httpd.graceful();
    let metrics = gracekeeper
        .wait_until("the rest of it is loaded", |metrics| owed(metrics, "config") == Some(false));
    assert_eq!(owed(&metrics, "limits"), Some(true), "httpd says that it is not allowed");
    assert!(since(&metrics, "limits").is_some());
    set("ServerLimit 9\n", "ServerLimit 8\n");
    gracekeeper.wait_until("it is taken back", |metrics| owed(metrics, "limits") == Some(false));
    set("mpm_event", "mpm_worker");
    gracekeeper.wait_until("another MPM", |metrics| owed(metrics, "limits") == Some(true));
    assert_eq!(told(&gracekeeper, "limits"), [2, 1]);
}

#[test]
fn what_changed_before_the_first_look_is_owed_and_what_a_full_restart_loads_is_not() {
    let mut httpd = Httpd::builder(Mpm::Event).start();
    httpd.rewrite_config(|text| text + "# changed\nServerLimit 9\n");
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    gracekeeper.wait_until("both are owed", |metrics| {
        owed(metrics, "limits") == Some(true) && owed(metrics, "config") == Some(true)
    });
    httpd.stop();
    gracekeeper.wait_until("nothing is owed to nobody", |metrics| {
        metrics.value("httpd_up", &[]) == Some(0.0) && owed(metrics, "config").is_none()
    });
    httpd.start_again();
    gracekeeper.wait_until("it was loaded", |metrics| {
        owed(metrics, "limits") == Some(false) && owed(metrics, "config") == Some(false)
    });
}

#[test]
fn what_is_owed_and_what_was_read_are_known_to_the_next_run() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = watch(&httpd);
    let hash = |metrics: &crate::harness::metrics::Metrics| metrics.value("httpd_config_hash", &[]);
    let loaded = hash(&gracekeeper.scrape());
    let original = fs::read_to_string(httpd.configuration_file()).unwrap();
    httpd.rewrite_config(|text| text + "# changed\n");
    wait_for(&gracekeeper, "it is owed", true);
    let gracekeeper = gracekeeper.leave().start_again();
    gracekeeper.wait_until("it still is", |metrics| {
        owed(metrics, "config") == Some(true) && loaded.is_some() && hash(metrics) == loaded
    });
    httpd.rewrite_config(|_| original);
    wait_for(&gracekeeper, "it is taken back", false);
}

#[test]
fn the_time_that_a_graceful_stop_may_take_is_told_where_it_is_set() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = watch(&httpd);
    let timeout = |metrics: &crate::harness::metrics::Metrics| {
        metrics.value("httpd_graceful_shutdown_timeout_seconds", &[])
    };
    assert_eq!(timeout(&gracekeeper.scrape()), None);
    httpd.rewrite_config(|text| text + "GracefulShutdownTimeout 7\n");
    gracekeeper.wait_until("it is not loaded yet", |metrics| {
        owed(metrics, "config") == Some(true) && timeout(metrics).is_none()
    });
    httpd.graceful();
    gracekeeper.wait_until("it is loaded", |metrics| timeout(metrics) == Some(7.0));
}

#[test]
fn equal_configurations_have_one_hash() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let first = watch(&httpd).scrape().value("httpd_config_hash", &[]);
    let again = watch(&httpd).scrape().value("httpd_config_hash", &[]);
    assert!(first.is_some_and(|hash| hash.fract() == 0.0 && hash < 2_f64.powi(53)));
    assert_eq!(first, again);
}

#[test]
fn what_anybody_may_write_is_counted() {
    use std::os::unix::fs::PermissionsExt as _;
    let httpd = with_directory();
    let file = httpd.directory().join("conf.d/open.conf");
    fs::write(&file, "# open\n").unwrap();
    httpd.graceful();
    let gracekeeper = watch(&httpd);
    let count =
        |metrics: &crate::harness::metrics::Metrics| metrics.value("httpd_insecure_paths", &[]);
    let before = count(&gracekeeper.scrape()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    gracekeeper.wait_until("one more", |metrics| count(metrics) == Some(before + 1.0));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    gracekeeper.wait_until("one less", |metrics| count(metrics) == Some(before));
}
