//! What httpd's configuration says of its children and logs, beside what httpd makes of it.

use std::fs;

use gracekeeper::model::settings::{Listen, Mpm as Loaded};

use crate::{
    asking::{ask, identity, question},
    harness::{Gracekeeper, Httpd, Mpm, eventually, metrics::Metrics, under_every_mpm},
};

under_every_mpm! {
    the_limit_of_workers_is_what_httpd_makes_of_its_settings
    a_configuration_is_read_as_httpd_reads_it
}

/// Children of the running generation, and the workers that they may be.
fn shown(metrics: &Metrics) -> (Option<f64>, Option<f64>) {
    let children = metrics.value("httpd_children", &[("generation", "current")]);
    (children, metrics.value("httpd_workers_limit", &[]))
}

fn the_limit_of_workers_is_what_httpd_makes_of_its_settings(mpm: Mpm) {
    // As many children as it may have, of 5 workers or of one.
    let httpd = Httpd::builder(mpm).start_servers(8).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    let (children, workers, restarted) = match mpm {
        Mpm::Event | Mpm::Worker => (4.0, 20.0, 5.0),
        Mpm::Prefork => (8.0, 8.0, 7.0),
    };
    gracekeeper.wait_until("what it was started with", |metrics| {
        shown(metrics) == (Some(children), Some(workers))
    });
    httpd.rewrite_config(|text| {
        let text = text
            .replace("MaxRequestWorkers", "<IfDefine !NEVER>\nMaxClients ${MOST}\n</IfDefine>\n#");
        format!("{text}\nDefine MOST 7\nServerLimit 20000\n")
    });
    httpd.graceful();
    gracekeeper.wait_until("what a restart read", |metrics| shown(metrics).1 == Some(restarted));
}

fn a_configuration_is_read_as_httpd_reads_it(mpm: Mpm) {
    let httpd = Httpd::builder(mpm)
        .extra(
            "LoadModule macro_module /usr/lib/apache2/modules/mod_macro.so
<Macro Host $name>

    # Each has a line of its own.
    <VirtualHost *>
        ServerName $name
        ErrorLog logs/$name.error
        CustomLog logs/$name.access \\
            \"%h\"
        IncludeOptional conf.d/$name.conf
    </VirtualHost>
</Macro>
IncludeOptional conf.d/*.conf
CustomLog logs/access %h
<IfModule log_config_module>
    Use Host a
    Use Host b
</IfModule>
<IfModule mod_nothing.c>
    CustomLog logs/nothing %h
</IfModule>",
        )
        .start();
    let logs = httpd.directory().join("logs");
    let open = || {
        let targets = fs::read_dir(format!("/proc/{}/fd", httpd.pid())).unwrap();
        let targets = targets.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        targets.filter(|target| target.starts_with(&logs)).count()
    };
    let told = || ask(question(identity(httpd.pid()))).unwrap().settings.unwrap();
    // One more than its own: where it tells of a start that fails.
    assert_eq!((open(), told().logs), (7, 6));
    fs::create_dir(httpd.directory().join("conf.d")).unwrap();
    for (name, text) in [("a", "CustomLog logs/of_a %h\n"), ("b", "TransferLog logs/of_b\n")] {
        fs::write(httpd.directory().join(format!("conf.d/{name}.conf")), text).unwrap();
    }
    httpd.graceful();
    // Two more, each of which two places include.
    eventually("the restart opens its logs", || open() == 11);
    let settings = told();
    assert_eq!(settings.logs, 10);
    assert!(!settings.is_partial && !settings.logs_are_partial, "{settings:?}");
    assert!(settings.mutexes.is_some(), "it tells of its mutexes");
    let loaded = match mpm {
        Mpm::Event => Loaded::Event,
        Mpm::Worker => Loaded::Worker,
        Mpm::Prefork => Loaded::Prefork,
    };
    assert_eq!((settings.mpm, settings.start_servers), (Some(loaded), Some(2)));
    let address = httpd.address();
    assert_eq!(*settings.listens, [Listen { address: Some(address.ip()), port: address.port() }]);
}
