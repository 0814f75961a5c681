//! Configurations of each kind, read.

use std::{collections::BTreeMap, path::PathBuf};

use super::*;
use crate::{
    decode::{
        inclusions::inclusions,
        modules::modules,
        run_configuration::{ErrorLogPlace, defines},
    },
    model::{
        settings::{Listen, Mpm},
        tls::HostAddress,
    },
};

/// Files by their paths.
struct Written(BTreeMap<PathBuf, &'static str>);

impl Files for Written {
    fn text(&self, path: &Path) -> Option<&[u8]> {
        self.0.get(path).map(|text| text.as_bytes())
    }

    fn exists(&self, name: &[u8]) -> Option<bool> {
        Some(name == b"conf/there")
    }
}

/// What httpd printed: the tree, then definitions and modules.
fn read(files: &[(&str, &'static str)], printed: &str, told: Told) -> Option<ServerSettings> {
    let printed = printed.as_bytes();
    let run = RunConfiguration {
        root: Some("/srv".into()),
        error_log: Some(ErrorLogPlace::File("/srv/logs/main".into())),
        pid_file: None,
    };
    let told = Told { defines: defines(printed), modules: modules(printed), run, ..told };
    let files = files.iter().map(|(path, text)| (PathBuf::from(path), *text)).collect();
    settings(&told, &inclusions(printed).unwrap(), &Written(files))
}

/// One file, read by an httpd with the MPM event that was told `-D FOO`.
fn one(text: &'static str) -> ServerSettings {
    told(text, "Define: DUMP_RUN_CFG\nDefine: FOO\n")
}

fn told(text: &'static str, defines: &str) -> ServerSettings {
    let printed = format!(
        "  (*) /main\n{defines}Loaded Modules:\n core_module (static)\n mpm_event_module (static)\n"
    );
    let told = Told {
        defined: [b"FOO".to_vec()].into(),
        version: version("2.4.71"),
        environment: [(b"LOGS".to_vec(), b"/var/log".to_vec())].into(),
        ..Told::default()
    };
    read(&[("/main", text)], &printed, told).unwrap()
}

fn ports(settings: &ServerSettings) -> Vec<u16> {
    settings.listens.iter().map(|listen| listen.port).collect()
}

#[test]
fn the_layout_of_debian_is_read() {
    let files = [
        (
            "/etc/apache2/apache2.conf",
            "DefaultRuntimeDir ${APACHE_RUN_DIR}\nPidFile ${APACHE_PID_FILE}\n\
             ErrorLog ${APACHE_LOG_DIR}/error.log\nIncludeOptional mods-enabled/*.load\n\
             IncludeOptional mods-enabled/*.conf\nInclude ports.conf\n<Directory />\n\
             Options FollowSymLinks\n</Directory>\nIncludeOptional sites-enabled/*.conf\n",
        ),
        (
            "/etc/apache2/mods-enabled/mpm_event.load",
            "# Conflicts: mpm_worker mpm_prefork\nLoadModule mpm_event_module \
             /usr/lib/apache2/modules/mod_mpm_event.so\n",
        ),
        (
            "/etc/apache2/mods-enabled/mpm_event.conf",
            "<IfModule mpm_event_module>\n\tStartServers\t\t2\n\tMinSpareThreads\t25\n\
             \tMaxSpareThreads 75\n\tThreadLimit 64\n\tThreadsPerChild 25\n\
             \tMaxRequestWorkers\t  150\n\tMaxConnectionsPerChild 0\n</IfModule>\n",
        ),
        (
            "/etc/apache2/ports.conf",
            "Listen 80\n\n<IfModule ssl_module>\n\tListen 443\n</IfModule>\n\n\
             <IfModule mod_gnutls.c>\n\tListen 443\n</IfModule>\n",
        ),
        (
            "/etc/apache2/sites-enabled/000-default.conf",
            "<VirtualHost *:80>\n\tErrorLog ${APACHE_LOG_DIR}/error.log\n\
             \tCustomLog ${APACHE_LOG_DIR}/access.log combined\n</VirtualHost>\n",
        ),
    ];
    let printed = "Included configuration files:\n  (*) /etc/apache2/apache2.conf\n\
        \x20   (4) /etc/apache2/mods-enabled/mpm_event.load\n\
        \x20   (5) /etc/apache2/mods-enabled/mpm_event.conf\n    (6) /etc/apache2/ports.conf\n\
        \x20   (10) /etc/apache2/sites-enabled/000-default.conf\nServerRoot: \"/etc/apache2\"\n\
        Define: DUMP_RUN_CFG\nDefine: DUMP_INCLUDES\nDefine: DUMP_MODULES\n\
        Loaded Modules:\n core_module (static)\n so_module (static)\n mpm_event_module (shared)\n";
    let environment = [(b"APACHE_LOG_DIR".to_vec(), b"/var/log/apache2".to_vec())].into();
    let read_all = || read(&files, printed, Told { environment, ..Told::default() });
    let expected = ServerSettings {
        mpm: Some(Mpm::Event),
        start_servers: Some(2),
        min_spare: Some(25),
        max_spare: Some(75),
        threads_per_child: Some(25),
        max_request_workers: Some(150),
        thread_limit: Some(64),
        listens: [Listen { address: None, port: 80 }].into(),
        logs: 2,
        log_files: ["/srv/logs/main", "/var/log/apache2/access.log", "/var/log/apache2/error.log"]
            .map(PathBuf::from)
            .into(),
        include_patterns: [
            "/srv/mods-enabled/*.conf",
            "/srv/mods-enabled/*.load",
            "/srv/sites-enabled/*.conf",
        ]
        .map(PathBuf::from)
        .into(),
        module_files: ["/usr/lib/apache2/modules/mod_mpm_event.so".into()].into(),
        ..ServerSettings::default()
    };
    assert_eq!(read_all(), Some(expected));
    assert_eq!(read(&files[..4], printed, Told::default()), None, "one cannot be read");
}

#[test]
fn the_layout_of_red_hat_is_read() {
    let files = [
        (
            "/etc/httpd/conf/httpd.conf",
            "ServerRoot \"/etc/httpd\"\nListen 80\nInclude conf.modules.d/*.conf\n\
             ErrorLog \"logs/error_log\"\n<IfModule log_config_module>\n\
             <IfModule logio_module>\nLogFormat \"%h %I\" combinedio\n</IfModule>\n\
             CustomLog \"logs/access_log\" combined\n</IfModule>\n\
             IncludeOptional conf.d/*.conf\n",
        ),
        (
            "/etc/httpd/conf.modules.d/00-base.conf",
            "LoadModule log_config_module modules/mod_log_config.so\n\
             #LoadModule info_module modules/mod_info.so\n",
        ),
        (
            "/etc/httpd/conf.modules.d/00-mpm.conf",
            "LoadModule mpm_prefork_module modules/mod_mpm_prefork.so\n",
        ),
        (
            "/etc/httpd/conf.d/ssl.conf",
            "Listen 443 https\n<VirtualHost _default_:443>\nErrorLog logs/ssl_error_log\n\
             TransferLog logs/ssl_access_log\nCustomLog logs/ssl_request_log \\\n          \
             \"%t %h %{SSL_PROTOCOL}x\"\n</VirtualHost>\n",
        ),
        (
            "/etc/httpd/conf.d/tuning.conf",
            "<IfModule prefork.c>\nStartServers 8\nMinSpareServers 5\nMaxSpareServers 20\n\
             ServerLimit 256\nMaxClients 256\n</IfModule>\n<IfModule worker.c>\n\
             MaxClients 300\nThreadsPerChild 25\n</IfModule>\n",
        ),
    ];
    let printed = "  (*) /etc/httpd/conf/httpd.conf\n\
        \x20   (3) /etc/httpd/conf.modules.d/00-base.conf\n\
        \x20   (3) /etc/httpd/conf.modules.d/00-mpm.conf\n\
        \x20   (11) /etc/httpd/conf.d/ssl.conf\n    (11) /etc/httpd/conf.d/tuning.conf\n\
        Define: DUMP_RUN_CFG\nLoaded Modules:\n core_module (static)\n\
        \x20log_config_module (shared)\n mpm_prefork_module (shared)\n";
    let found = read(&files, printed, Told::default()).unwrap();
    assert_eq!(found.mpm, Some(Mpm::Prefork));
    assert_eq!(
        (found.start_servers, found.min_spare, found.max_spare),
        (Some(8), Some(5), Some(20))
    );
    assert_eq!((found.server_limit, found.max_request_workers), (Some(256), Some(256)));
    assert_eq!((found.threads_per_child, found.logs), (None, 5));
    assert_eq!(ports(&found), [80, 443]);
    assert!(!found.is_partial && !found.logs_are_partial);
}

#[test]
fn the_last_word_counts_and_listeners_add_up() {
    let found = one("StartServers 3\nstartservers \"4x\"\nMaxClients 10\nMaxRequestWorkers 20\n\
         ThreadsPerChild -5\nThreadLimit 99999999999\nListen 80\n<IfDefine !FOO>\n\
         StartServers 9\n<IfModule x>\n</IfModule>\nListen 81\n</IfDefine>\n\
         <IfDefine FOO>\nListen [::1]:82\n</IfDefine>\n<IfVersion >= 2.4>\nListen 83\n\
         </IfVersion>\n<IfFile \"conf/there\">\nListen 84\n</IfFile>\n");
    assert_eq!((found.start_servers, found.max_request_workers), (Some(4), Some(20)));
    assert_eq!((found.threads_per_child, found.thread_limit), (Some(0), Some(u32::MAX)));
    assert_eq!(ports(&found), [80, 82, 83, 84]);
    assert!(!found.is_partial);
}

#[test]
fn a_variable_has_its_last_value_and_a_condition_that_of_its_place() {
    let found = told(
        "Define P 1\nListen ${P}\nStartServers ${UNKNOWN}\n<IfDefine LATER>\nListen 9\n\
         </IfDefine>\nDefine LATER\nDefine P 2\nUnDefine FOO\nErrorLog ${LOGS}/a\n\
         <VirtualHost *>\nErrorLog /var/log/a\n</VirtualHost>\n",
        "Define: P=2\nDefine: LATER\n",
    );
    assert_eq!(ports(&found), [2]);
    assert_eq!((found.start_servers, found.logs), (Some(0), 1));
    assert!(!found.is_partial);
}

#[test]
fn what_was_read_otherwise_than_httpd_did_is_partial() {
    assert!(!one("").is_partial);
    for text in [
        "<IfDirective X>\nStartServers 1\n</IfDirective>\n",
        "<IfVersion ~ 2.*>\nListen 80\n</IfVersion>\n",
        "<IfSection X>\nDefine A\nUnDefine A\n</IfSection>\n",
        "Listen localhost:80\n",
        "Use Unknown\n",
        "<Perl>\n$StartServers = 2;\n</Perl>\n",
        "LoadModule x_module x.so\n",
        "Define Y\n",
    ] {
        let found = one(text);
        assert!(found.is_partial && found.logs_are_partial, "{text}");
    }
    for text in [
        "<IfDirective X>\nAlias /a /b\n</IfDirective>\nStartServers 1\n",
        "<Perl>\n</Perl\n",
        "<If \"%{HTTP_HOST} == 'x'\">\nListen\n",
        "</Directory>\n</VirtualHost>\n>\n<\n<>\n</\n",
    ] {
        let found = one(text);
        assert!(!found.logs_are_partial || text.contains("Perl") || text.contains("If "), "{text}");
    }
    let found = one("<IfDirective X>\nCustomLog /a common\n</IfDirective>\n");
    assert!(!found.is_partial && found.logs_are_partial);
    // httpd read a file below a line that is passed over here.
    let printed = "  (*) /main\n    (2) /a\n";
    let main = "<IfDefine x>\nInclude a\n</IfDefine>\n";
    let found = read(&[("/main", main), ("/a", "")], printed, Told::default());
    assert!(found.unwrap().is_partial);
}

#[test]
fn the_command_line_has_a_say_before_and_after() {
    let printed = "    (2) /early\n  (2) /main\n    (1) /late\n";
    let files = [("/early", "Listen 1\n"), ("/main", "Listen 2\n"), ("/late", "Listen 3\n")];
    let told = Told {
        before: vec![b"StartServers 1".to_vec(), b"Include early".to_vec()],
        after: vec![b"Include late".to_vec(), b"StartServers 2".to_vec()],
        ..Told::default()
    };
    let found = read(&files, printed, told).unwrap();
    assert_eq!((ports(&found), found.start_servers), (vec![1, 2, 3], Some(2)));
    assert!(!found.is_partial);
}

#[test]
fn a_macro_is_what_it_makes_of_its_text() {
    let main = "<Macro Host $name $n>\n\n# no\nListen $n\n<VirtualHost *>\n\
        CustomLog $name.log $name-$n\nInclude $n.conf\n</VirtualHost>\n</Macro>\n\
        use host a 81\nUse HOST b 82\nListen 80\n";
    let printed = "  (*) /main\n    (5) /81.conf\n    (5) /82.conf\n";
    let files = [("/main", main), ("/81.conf", "ErrorLog 81\n"), ("/82.conf", "ErrorLog 82\n")];
    let found = read(&files, printed, Told::default()).unwrap();
    assert_eq!((ports(&found), found.logs), (vec![81, 82, 80], 5));
    assert!(!found.is_partial);
}

#[test]
fn a_macro_that_uses_itself_comes_to_an_end() {
    let twice = one("<Macro A>\nUse A\nUse A\n</Macro>\nUse A\n");
    assert!(twice.is_partial);
    let grows = one("<Macro A $x>\nUse A $x$x$x$x$x$x$x$x$x$x\n</Macro>\nUse A 0123456789\n");
    assert!(grows.is_partial);
}

/// Descriptors of a 2.4.71 that was given the same, less those of one without logs.
#[test]
fn logs_are_counted_as_httpd_opens_them() {
    let found = one("ErrorLog logs/e\nCustomLog logs/a \"%h\"\nGlobalLog logs/glob \"%h\"\n\
         ForensicLog logs/for\n<VirtualHost a>\nErrorLog logs/e\nCustomLog logs/a \"%h\"\n\
         CustomLog logs/a \"%u\"\nCustomLog logs/a \"%u\"\n</VirtualHost>\n<VirtualHost b>\n\
         ErrorLog logs/f\nTransferLog logs/t\n</VirtualHost>\n<VirtualHost c>\nErrorLog logs/f\n\
         ErrorLog logs/g\nScriptLog logs/script\nForensicLog logs/for2\n</VirtualHost>\n\
         <VirtualHost d>\nCustomLog logs/cond \"%h\" env=X\nCustomLog \"/dev/null\" \"%h\"\n\
         </VirtualHost>\n");
    assert_eq!(found.logs, 13);
    let found = one(
        "ErrorLog \"|/usr/bin/rotatelogs -n 2 logs/e 100\"\nCustomLog \"|/bin/rotatelogs a\" \"%h\"\n\
         <VirtualHost a>\nErrorLog \"|/usr/bin/rotatelogs -n 2 logs/e 100\"\n\
         CustomLog \"|/bin/rotatelogs a\" \"%h\"\n</VirtualHost>\n<VirtualHost b>\n\
         ErrorLog \"|/bin/rotatelogs e2\"\nForensicLog \"|/bin/rotatelogs f\"\n</VirtualHost>\n\
         <VirtualHost c>\nErrorLog \"syslog:local1\"\nCustomLog \"syslog:local1\" \"%h\"\n\
         </VirtualHost>\n",
    );
    assert_eq!(found.logs, 9);
    assert_eq!(one("").logs, 1);
    assert_eq!(
        one("ErrorLog syslog\n<VirtualHost *>\nErrorLog journald\n</VirtualHost>\n").logs,
        0
    );
}

/// As `told`, with definitions of these names.
fn defining(text: String, names: impl Iterator<Item = String>) -> ServerSettings {
    let printed: Vec<_> = names.map(|name| format!("Define: {name}\n")).collect();
    told(text.leak(), &(printed.concat() + "Define: FOO\n"))
}

#[test]
fn many_uses_of_a_long_macro_are_not_followed_to_their_end() {
    let long = "$p".repeat(250_000);
    let text = |uses| {
        let uses = "Use m \"\"\n".repeat(uses);
        format!("<Macro m $p>\n{long}\n</Macro>\n{uses}Listen 81\n")
    };
    let found = one(text(5).leak());
    assert_eq!((ports(&found), found.is_partial), (vec![81], false));
    let found = one(text(400).leak());
    assert_eq!((ports(&found), found.is_partial), (vec![], true), "nothing after it is read");
}

#[test]
fn values_that_fill_their_room_make_it_partial() {
    let value = "x".repeat(60_000);
    let text = |count| {
        let copies: Vec<_> = (0..count).map(|it| format!("Define a{it} ${{A}}\n")).collect();
        format!("Define A {value}\n{}", copies.concat())
    };
    let names =
        |count: u32| ["A".to_owned()].into_iter().chain((0..count).map(|it| format!("a{it}")));
    assert!(!defining(text(60), names(60)).is_partial);
    assert!(defining(text(100), names(100)).is_partial);
    let again = "Define B ${A}\nUnDefine B\n".repeat(100);
    let found = defining(text(60) + &again, names(60));
    assert!(!found.is_partial, "what is gone leaves its room");
}

#[test]
fn names_of_logs_that_fill_their_room_make_them_partial() {
    let value = "x".repeat(60_000);
    let text = |count: u32, is_same: bool| {
        let hosts = (0..count).map(|it| {
            let it = if is_same { 0 } else { it };
            format!("<VirtualHost *>\nErrorLog {it}{value}\n</VirtualHost>\n")
        });
        hosts.collect::<Vec<_>>().concat()
    };
    let found = one(text(75, true).leak());
    assert_eq!((found.logs, found.logs_are_partial), (2, false));
    let found = one(text(75, false).leak());
    assert!(found.logs_are_partial && !found.is_partial);
}

#[test]
fn very_many_listeners_sections_or_words_come_to_an_end() {
    let listens = |count| one("Listen 80\n".repeat(count).leak());
    assert!(!listens(1024).is_partial);
    let many = listens(1025);
    assert_eq!((many.listens.len(), many.is_partial), (1024, true));
    let found = one(format!("{}Listen 80\n", "<a>\n".repeat(1002)).leak());
    assert_eq!((ports(&found), found.is_partial), (vec![], true));
    let found = one(format!("Define FOO {}\nListen 80\n", "a ".repeat(1 << 20)).leak());
    assert_eq!((ports(&found), found.is_partial), (vec![80], false));
    let found = one("<IfFile /x>\n</IfFile>\n".repeat(20_000).leak());
    assert!(found.is_partial, "each looks for a file");
}

/// Pieces of configurations, put together anyhow.
const PIECES: [&str; 32] = [
    "\n",
    "\n",
    "\n",
    " ",
    "\\\n",
    "\\",
    "\"",
    "'",
    "<",
    "</",
    ">",
    "!",
    "${",
    "}",
    "$x",
    "80",
    "[::]:",
    "FOO",
    "IfDefine",
    "IfModule x",
    "IfVersion >= 2.4",
    "VirtualHost *",
    "Macro M $x",
    "Macro",
    "Use M",
    "Define",
    "Listen ",
    "Include ",
    "CustomLog ",
    "ErrorLog |",
    "StartServers ",
    "-1",
];

proptest::proptest! {
    #[test]
    fn whatever_is_written_comes_to_an_end(picked in proptest::collection::vec(0..PIECES.len(), 0..80)) {
        let text: String = picked.iter().map(|piece| PIECES[*piece]).collect();
        let text: &'static str = Box::leak(text.into_boxed_str());
        let printed = "  (*) /main\n    (1) /a\n    (2) /a\n    (2) /b\n";
        let found = read(&[("/main", text), ("/a", text), ("/b", text)], printed, Told::default());
        let found = found.unwrap();
        proptest::prop_assert!(found.logs_are_partial || !found.is_partial);
        let again = read(&[("/main", text), ("/a", text), ("/b", text)], printed, Told::default());
        proptest::prop_assert_eq!(again, Some(found));
    }
}

/// Paths below `/srv`, or absolute ones, as text.
fn paths<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Vec<&'a str> {
    let text = |path: &'a PathBuf| path.to_str().unwrap();
    paths.into_iter().map(text).map(|path| path.strip_prefix("/srv/").unwrap_or(path)).collect()
}

/// One file, of which httpd named these certificates too.
fn certified(text: &str, certificates: &[&str]) -> ServerSettings {
    let certificates = certificates.iter().map(|name| name.as_bytes().to_vec()).collect();
    let told = Told { certificates: Some(certificates), ..Told::default() };
    read(&[("/main", text.to_owned().leak())], "  (*) /main\n", told).unwrap()
}

/// Each host's name, then certificate and key of each pair.
fn hosts(settings: &ServerSettings) -> Vec<(Option<&str>, Vec<[&str; 2]>)> {
    settings
        .tls_hosts
        .iter()
        .map(|host| {
            let pairs = host.pairs.iter().map(|pair| {
                let all = paths([&pair.certificate, &pair.key]);
                [all[0], all[1]]
            });
            (host.name.as_deref(), pairs.collect())
        })
        .collect()
}

/// Each was tried with 2.4.71.
#[test]
fn a_host_speaks_tls_where_httpd_lets_it() {
    let found = certified(
        "ServerName main.local:8080\nSSLCertificateFile a.crt\nSSLCertificateKeyFile a.key\n\
         SSLCertificateFile pkcs11:token\n<VirtualHost *:18413>\nServerName https://b.local:18413\n\
         SSLEngine on\nSSLCertificateFile logs/../b.crt\nSSLCertificateKeyFile /k/b.key\n\
         </VirtualHost>\n<VirtualHost *:443>\nServerName c.local\nSSLCertificateFile c.crt\n\
         </VirtualHost>\n<VirtualHost [::1]:8443 _default_>\nSSLEngine On\n</VirtualHost>\n",
        &["a.crt", "pkcs11:token", "/srv/b.crt", "c.crt"],
    );
    let expected = [
        (Some("b.local"), vec![["b.crt", "/k/b.key"]]),
        (Some("main.local"), vec![["a.crt", "a.key"]]),
    ];
    assert_eq!(hosts(&found), expected);
    let addresses = found.tls_hosts.iter().map(|host| host.addresses.as_slice());
    let every = |port| HostAddress { address: None, port };
    let local = HostAddress { address: Some("::1".parse().unwrap()), port: Some(8443) };
    let expected = [vec![every(Some(18413))], vec![local, every(None)]];
    assert!(addresses.eq(expected.iter().map(Vec::as_slice)));
    assert_eq!(paths(&**found.certificates.as_ref().unwrap()), ["a.crt", "b.crt", "c.crt"]);
    assert!(!found.tls_is_partial && !found.is_partial);
}

/// Each was tried with 2.4.71.
#[test]
fn a_host_has_all_its_aliases_and_one_that_has_too_many_has_every_one() {
    let found = one("SSLEngine on\nServerName main\nSSLCertificateFile c\n<VirtualHost *:1>\n\
         ServerAlias *.Example.ORG \"b.example\"\nServerAlias w?w.example ${LOGS}\n</VirtualHost>\n\
         <VirtualHost *:1>\nServerName other\n</VirtualHost>\n");
    let aliases: Vec<_> = found.tls_hosts.iter().map(|host| host.aliases.join(" ")).collect();
    assert_eq!(aliases, ["", "*.example.org b.example w?w.example /var/log", ""]);
    assert!(!found.tls_is_partial);
    let many: Vec<_> = (0..60_000).map(|it| format!("ServerAlias {it:060}\n")).collect();
    let text = format!("<VirtualHost *:1>\nSSLEngine on\nSSLCertificateFile c\n{}", many.concat());
    let found = one(format!("{text}</VirtualHost>\n").leak());
    let aliases = &found.tls_hosts[0].aliases;
    assert!(aliases.len() < 40_000 && aliases.last().is_some_and(|it| it == "*"));
    assert!(found.tls_is_partial && !found.is_partial);
}

#[test]
fn what_else_a_restart_reads_for_tls_is_named() {
    let found = one("SSLCertificateChainFile tls/chain\nSSLCACertificatePath /ca/\n\
         SSLCARevocationFile crl\nSSLCARevocationPath crls\nSSLProxyCACertificatePath hashed\n\
         SSLOpenSSLConfCmd DHParameters dh\nSSLOpenSSLConfCmd Curves x\n<VirtualHost *>\n\
         SSLCACertificateFile ca\nSSLProxyMachineCertificateFile m\nSSLCADNRequestPath names\n\
         SSLProxyMachineCertificatePath machine\nSSLCACertificateFile ca\n</VirtualHost>\n");
    let expected = ["/ca/*", "ca", "crl", "dh", "m", "machine/*", "names/*", "tls/chain"];
    assert_eq!(paths(&*found.tls_files), expected);
    assert!(!found.tls_is_partial);
    let many: Vec<_> = (0..5000).map(|it| format!("SSLCACertificateFile {it}\n")).collect();
    let found = one(many.concat().leak());
    assert_eq!((found.tls_files.len(), found.tls_is_partial), (4096, true));
}

#[test]
fn hosts_have_the_engine_of_the_main_server_and_keys_in_their_places() {
    let found = one("SSLEngine on\nSSLCertificateFile a\nSSLCertificateFile b\n\
         SSLCertificateKeyFile k\n<VirtualHost *:1>\nSSLEngine off\n</VirtualHost>\n\
         <VirtualHost *:2>\nSSLCertificateFile x\nSSLCertificateKeyFile pkcs11:k\n\
         SSLCertificateKeyFile l\n</VirtualHost>\n");
    let expected = [(None, vec![["a", "k"], ["b", "b"]]), (None, vec![["x", "x"], ["b", "l"]])];
    assert_eq!(hosts(&found), expected);
    assert!(found.tls_hosts[0].addresses.is_empty() && found.certificates.is_none());
    assert!(!found.tls_is_partial);
}

#[test]
fn what_httpd_or_others_know_more_of_makes_tls_partial() {
    let host = |lines: &str| {
        format!("<VirtualHost *>\nSSLEngine on\nSSLCertificateFile a\n{lines}</VirtualHost>\n")
    };
    assert!(!certified(&host(""), &["a"]).tls_is_partial);
    for (text, named) in [
        (host(""), &["a", "md/b"][..]),
        (host(""), &[]),
        (host("SSLOpenSSLConfCmd Certificate b\n"), &["a"]),
        (host("<IfDirective X>\nSSLCertificateKeyFile b\n</IfDirective>\n"), &["a"]),
        (host("<IfDirective X>\nServerName b\n</IfDirective>\n"), &["a"]),
        (host("") + "MDomain a.example\n", &["a"]),
        (host("") + "<MDomainSet a.example>\n</MDomainSet>\n", &["a"]),
        (host("").replace('*', "localhost:443"), &["a"]),
        ("<VirtualHost *>\nSSLEngine on\n</VirtualHost>\n".to_owned(), &[]),
        ("<VirtualHost *>\nSSLEngine optional\n</VirtualHost>\n".to_owned(), &[]),
    ] {
        let found = certified(&text, named);
        assert!(found.tls_is_partial && !found.is_partial, "{text}");
    }
    let text = host("SSLOpenSSLConfCmd Curves X25519\n");
    assert!(!certified(&text, &["a"]).tls_is_partial);
}

#[test]
fn a_thousand_hosts_are_complete_and_too_many_come_to_an_end() {
    let text = |count: u32, length| {
        let name = "x".repeat(length);
        let hosts = (0..count).map(|it| {
            format!(
                "<VirtualHost *:443>\nServerName {it}.example\nSSLEngine on\n\
                 SSLCertificateFile {name}{it}.crt\nSSLCertificateKeyFile {name}{it}.key\n\
                 </VirtualHost>\n"
            )
        });
        hosts.collect::<Vec<_>>().concat()
    };
    let found = one(text(5000, 60).leak());
    assert_eq!((found.tls_hosts.len(), found.tls_is_partial), (5000, false));
    let found = one(text(3000, 1000).leak());
    assert!(found.tls_is_partial && !found.is_partial);
    let many = "SSLEngine on\nSSLCertificateFile a\n".to_owned();
    let found = one((many + &"<VirtualHost *>\n</VirtualHost>\n".repeat(100_000)).leak());
    assert!(found.tls_is_partial && found.tls_hosts.len() < 25_000, "{}", found.tls_hosts.len());
    // What all have of the main server is as much for each.
    let main = "SSLEngine on\n".to_owned() + &"SSLCertificateFile a\n".repeat(5000);
    let found = one((main + &"<VirtualHost *>\n</VirtualHost>\n".repeat(5000)).leak());
    assert!(found.tls_is_partial && found.tls_hosts.len() < 100);
}

#[test]
fn logs_that_are_files_are_named() {
    let found = one("ErrorLog syslog\nCustomLog logs/a %h\nTransferLog \"|/bin/cat x\"\n\
         CustomLog /dev/stdout %h\n<VirtualHost a>\nErrorLog logs/e\nErrorLog logs/f\n\
         ForensicLog logs/../o\n</VirtualHost>\n<VirtualHost b>\nErrorLog journald\n\
         GlobalLog /var/g %h\n</VirtualHost>\n");
    let expected = ["logs/a", "logs/f", "logs/main", "o", "/var/g"];
    assert_eq!(paths(&*found.log_files), expected);
    assert!(!found.logs_are_partial);
    let printed = "  (*) /main\n";
    let tree = inclusions(printed.as_bytes()).unwrap();
    let files = Written([(PathBuf::from("/main"), "ErrorLog /e\n")].into());
    let found = settings(&Told::default(), &tree, &files).unwrap();
    assert_eq!((paths(&*found.log_files), found.logs_are_partial), (vec!["/e"], false));
    let files = Written([(PathBuf::from("/main"), "")].into());
    assert!(settings(&Told::default(), &tree, &files).unwrap().logs_are_partial, "no root");
}

#[test]
fn patterns_modules_and_numbers_of_the_whole_server_are_named() {
    let main = "IncludeOptional conf.d/*.conf\nInclude there.conf\nInclude dir/\n\
        IncludeOptional later.conf\nInclude empty\nIncludeOptional conf.d/*.conf\n\
        <IfDefine NO>\nInclude no/*\n</IfDefine>\nLoadFile /lib/x.so libz.so conf/there\n\
        LoadModule a_module modules/mod_a.so\nGracefulShutdownTimeout 30\nListenBacklog 511\n\
        <Directory /x>\nInclude in/*.conf\n</Directory>\nInclude dir/x?.conf\n";
    let printed = "  (*) /main\n    (1) /srv/conf.d/a.conf\n    (2) /srv/there.conf\n\
        \x20   (3) /srv/dir/b.conf\n";
    let files = [
        ("/main", main),
        ("/srv/conf.d/a.conf", ""),
        ("/srv/there.conf", ""),
        ("/srv/dir/b.conf", ""),
    ];
    let found = read(&files, printed, Told::default()).unwrap();
    let expected = ["conf.d/*.conf", "dir", "dir/x?.conf", "empty", "in/*.conf", "later.conf"];
    assert_eq!(paths(&*found.include_patterns), expected);
    assert_eq!(paths(&*found.module_files), ["/lib/x.so", "conf/there", "modules/mod_a.so"]);
    assert_eq!((found.graceful_shutdown_timeout, found.listen_backlog), (Some(30), Some(511)));
    let many: Vec<_> = (0..5000).map(|it| format!("IncludeOptional {it}/*\n")).collect();
    assert_eq!(one(many.concat().leak()).include_patterns.len(), 4096);
}
