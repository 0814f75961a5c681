//! What httpd's configuration says of its children, logs and TLS, beside what httpd makes of it.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use gracekeeper::model::{
    settings::{Listen, Mpm as Loaded},
    tls::TlsHost,
};

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

/// Hosts with certificates, in files and as a macro makes them; none of those files is there, which
/// httpd does not mind where it is only asked.
const HOSTS: &str = "
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
LoadModule macro_module /usr/lib/apache2/modules/mod_macro.so
ServerName main.example:8080
SSLCertificateFile main.crt
SSLCertificateFile \"tls/../second.crt\"
<Macro Secure $name $port>
    <VirtualHost *:$port [::1]:$port>
        ServerName https://$name:$port
        SSLEngine on
        SSLCertificateFile tls/$name.crt
        SSLCertificateKeyFile tls/$name.key
        ErrorLog logs/$name.error
        CustomLog logs/$name.access %h
    </VirtualHost>
</Macro>
Use Secure a.example 18443
Use Secure b.example 18443
IncludeOptional hosts/*.conf
IncludeOptional later.conf
<VirtualHost 127.0.0.1:18080>
    ServerName plain.example
    SSLCertificateFile /srv/plain.crt
</VirtualHost>
<VirtualHost 127.0.0.1:18444>
    ServerName inherits.example
    SSLEngine on
</VirtualHost>
";

/// What httpd itself prints of its hosts and certificates.
fn printed(httpd: &Httpd) -> String {
    let program = fs::read_link(format!("/proc/{}/exe", httpd.pid())).unwrap();
    let file = httpd.configuration_file();
    let mut command = Command::new(program);
    command.arg("-f").arg(file).args(["-t", "-D", "DUMP_VHOSTS", "-D", "DUMP_CERTS"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn hosts_that_speak_tls_are_those_of_httpd() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let directory = httpd.directory();
    fs::create_dir(directory.join("hosts")).unwrap();
    fs::write(directory.join("hosts/c.conf"), "Use Secure c.example 18445\n").unwrap();
    httpd.rewrite_config(|text| text + HOSTS);
    let settings = ask(question(identity(httpd.pid()))).unwrap().settings.unwrap();
    assert!(!settings.tls_is_partial && !settings.is_partial, "{settings:?}");

    let printed = printed(&httpd);
    let (hosts, names) = printed.split_once("Server certificates:\n").unwrap();
    let names = names.lines().map(|name| directory.join(name.trim().replace("tls/../", "")));
    let certificates: BTreeSet<_> = settings.certificates.iter().flat_map(|all| &**all).collect();
    assert_eq!(certificates, names.collect::<BTreeSet<_>>().iter().collect());
    assert_eq!(certificates.len(), 6);

    let names: Vec<_> = settings.tls_hosts.iter().map(|it| it.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["a.example", "b.example", "c.example", "inherits.example"]);
    for host in &*settings.tls_hosts {
        let (name, port) = (host.name.as_deref().unwrap(), host.addresses[0].port.unwrap());
        let alone = hosts.lines().any(|line| {
            let is_address = line.starts_with(&format!("127.0.0.1:{port} "))
                || line.starts_with(&format!("*:{port} "));
            is_address && line.contains(&format!(" {name} "))
        });
        assert!(alone || hosts.contains(&format!("port {port} namevhost {name} ")), "{hosts}");
    }
    let files = |paths: [&str; 2]| paths.map(|path| directory.join(path));
    let pairs = |host: &TlsHost| -> Vec<_> {
        host.pairs.iter().map(|pair| [pair.certificate.clone(), pair.key.clone()]).collect()
    };
    // The second one is the main server's, which no host took the place of.
    let second = files(["second.crt", "second.crt"]);
    let [first, .., last] = &*settings.tls_hosts else { panic!("{settings:?}") };
    assert_eq!(pairs(first), [files(["tls/a.example.crt", "tls/a.example.key"]), second.clone()]);
    assert_eq!(pairs(last), [files(["main.crt", "main.crt"]), second]);

    let logs = ["a", "b", "c"].map(|name| directory.join(format!("logs/{name}.example.error")));
    assert!(logs.iter().all(|log| settings.log_files.contains(log)), "{:?}", settings.log_files);
    let error_log = httpd.error_log();
    assert!(settings.log_files.iter().any(|log| log == error_log.path()));
    for pattern in ["hosts/*.conf", "later.conf"] {
        assert!(settings.include_patterns.contains(&directory.join(pattern)), "{pattern}");
    }
    let module = Path::new("/usr/lib/apache2/modules/mod_ssl.so");
    assert!(settings.module_files.iter().any(|file| file == module));
}
