//! Two servers: what happens to one does not move the other's counters.

use std::collections::BTreeMap;

use crate::harness::{Gracekeeper, Httpd, Mpm, eventually, metrics::Metrics, under_every_mpm};

under_every_mpm! {
    what_happens_to_one_moves_no_counter_of_the_other
}

fn name(httpd: &Httpd) -> String {
    httpd.directory().file_name().unwrap().to_str().unwrap().to_owned()
}

/// Every counter and every count of a histogram of this server.
fn counters(gracekeeper: &Gracekeeper, server: &str) -> BTreeMap<String, String> {
    let body = gracekeeper.get("/metrics").body;
    let label = format!("server=\"{server}\"");
    let lines = body.lines().filter(|line| line.contains(&label));
    let counted = lines.filter_map(|line| line.rsplit_once(' ')).filter(|(series, _)| {
        let family = series.split('{').next().unwrap();
        ["_total", "_count", "_sum", "_bucket"].iter().any(|end| family.ends_with(end))
    });
    counted.map(|(series, value)| (series.to_owned(), value.to_owned())).collect()
}

fn total(metrics: &Metrics, name: &str) -> f64 {
    metrics.total("httpd_restarts_total", &[("server", name)])
}

fn what_happens_to_one_moves_no_counter_of_the_other(mpm: Mpm) {
    let (one, mut two) = (Httpd::builder(mpm).start(), Httpd::builder(mpm).start());
    let gracekeepers = [
        (Gracekeeper::discovering().start(), name(&one), name(&two)),
        (
            Gracekeeper::watching(&one)
                .config(&format!(
                    "[[server]]\nname = \"two\"\npid_file = \"{}\"",
                    two.pid_file().display()
                ))
                .start(),
            "main".to_owned(),
            "two".to_owned(),
        ),
    ];
    let mut before = Vec::new();
    for (gracekeeper, quiet, loud) in &gracekeepers {
        gracekeeper.wait_until("both serve, and their children are known", |metrics| {
            [(quiet, &one), (loud, &two)].into_iter().all(|(name, httpd)| {
                let living = u32::try_from(httpd.oracle().living_pids().len()).unwrap();
                metrics.value("httpd_serving", &[("server", name)]) == Some(1.0)
                    && metrics.total("httpd_children", &[("server", name)]) == f64::from(living)
            })
        });
        before.push(counters(gracekeeper, quiet));
    }
    let are_told = |count: f64| {
        for (gracekeeper, _, loud) in &gracekeepers {
            gracekeeper.wait_until("its restart is told", |metrics| {
                total(metrics, loud) == count
                    && metrics.value("httpd_serving", &[("server", loud)]) == Some(1.0)
            });
        }
    };
    two.graceful();
    are_told(1.0);
    two.hard();
    are_told(2.0);
    two.stop();
    eventually("it has stopped", || !two.parent_is_alive());
    two.start_again();
    are_told(3.0);
    two.kill_parent();
    for ((gracekeeper, quiet, loud), before) in gracekeepers.iter().zip(before) {
        let metrics = gracekeeper.wait_until("its end is told", |metrics| {
            metrics.value("httpd_up", &[("server", loud)]) == Some(0.0)
                && metrics.total("httpd_stops_total", &[("server", loud)]) == 2.0
        });
        let of = |kind| {
            metrics.value("httpd_restarts_total", &[("server", loud), ("type", kind)]).unwrap()
        };
        assert_eq!([of("graceful"), of("hard"), of("unknown")], [1.0, 1.0, 0.0]);
        assert_eq!(metrics.value("httpd_up", &[("server", quiet)]), Some(1.0));
        let changed: Vec<_> = counters(gracekeeper, quiet)
            .into_iter()
            .filter(|(series, value)| before.get(series) != Some(value))
            .collect();
        assert!(changed.is_empty(), "of {quiet} while {loud} was restarted: {changed:?}");
    }
}
