use super::*;

fn told(text: &str) -> Vec<(u32, Verdict)> {
    lines(text.as_bytes()).found.into_iter().map(|it| (it.line, it.verdict)).collect()
}

#[track_caller]
fn assert_each(verdict: Option<Verdict>, commands: &[&str]) {
    for command in commands {
        let expected: Vec<_> = verdict.iter().map(|verdict| (1, *verdict)).collect();
        assert_eq!(told(command), expected, "{command}");
    }
}

#[test]
fn a_stop_and_a_start_is_told_from_a_reload() {
    assert_each(
        Some(Verdict::Full),
        &[
            "systemctl restart apache2",
            "/bin/systemctl --no-block -q try-restart httpd.service",
            "systemctl restart nginx 'apache2@two.service' php-fpm",
            "service apache2 restart",
            "/etc/init.d/apache2 restart >/dev/null 2>&1",
            "invoke-rc.d --quiet httpd restart",
            "rc-service apache2 restart",
            "if true; then sudo -n systemctl restart httpd; fi",
            "0 3 * * * root systemctl restart apache2",
            "@daily root /usr/sbin/service httpd restart",
            "post_hook = systemctl restart apache2",
            "Le_ReloadCmd='systemctl restart apache2'",
            "exec \"/usr/bin/systemctl restart httpd24-httpd\"",
            "certbot renew --post-hook \"service apache2 restart\"",
            "sh -c 'test -f /x && systemctl restart apache2'",
            "DPkg::Post-Invoke {\"systemctl restart apache2 || true\";};",
        ],
    );
    assert_each(
        Some(Verdict::Graceful),
        &[
            "systemctl reload apache2",
            "systemctl reload-or-restart httpd.service || true",
            "service httpd force-reload",
            "/etc/init.d/apache2 reload",
            "invoke-rc.d apache2 reload 2>&1 | logger -t apache2.logrotate",
            "apachectl graceful",
            "/usr/sbin/httpd -k graceful",
            "apache2ctl -k graceful",
            "kill -USR1 `cat /run/apache2/apache2.pid`",
            "kill -s SIGUSR1 $(cat /var/run/httpd.pid 2>/dev/null) 2>/dev/null || true",
            "pkill -USR1 -x httpd",
        ],
    );
}

#[test]
fn a_hard_restart_and_a_stop_are_told_apart() {
    assert_each(
        Some(Verdict::Hard),
        &[
            "apachectl restart",
            "apache2ctl -k restart",
            "/usr/local/apache2/bin/httpd -k restart",
            "${APACHECTL} restart",
            "kill -HUP $(cat /run/apache2/apache2.pid)",
            "kill -1 `cat /var/run/httpd.pid`",
            "kill -s HUP $(</run/httpd/httpd.pid)",
            "/bin/kill --signal HUP $(pidof apache2)",
            "killall -HUP httpd",
            "pkill --signal=SIGHUP -o apache2",
            "systemctl kill -s HUP apache2.service",
            "systemctl --signal=SIGHUP kill httpd",
            "cat /run/apache2/apache2.pid | xargs kill -HUP",
            "pidof httpd | xargs -r kill -1",
        ],
    );
    assert_each(
        Some(Verdict::Stop),
        &[
            "systemctl stop apache2",
            "systemctl disable --now httpd",
            "apachectl graceful-stop",
            "httpd -k stop",
            "service apache2 stop",
            "killall apache2",
            "kill -WINCH $(cat /run/httpd/httpd.pid)",
            "kill -9 $(pgrep httpd)",
            "systemctl kill apache2",
        ],
    );
}

#[test]
fn what_does_nothing_to_httpd_is_no_caller() {
    assert_each(
        None,
        &[
            "",
            "# systemctl restart apache2",
            "systemctl start apache2",
            "systemctl status apache2",
            "systemctl restart lighttpd apache_exporter apache2-exporter.service",
            "systemctl --user restart httpd",
            "systemctl -H web1 restart httpd",
            "echo systemctl restart apache2",
            "echo \"run systemctl restart apache2\"",
            "logger -t x 'apachectl restart'",
            "apachectl configtest",
            "apachectl -t",
            "httpd -v",
            "kill -0 $(cat /run/apache2/apache2.pid)",
            "kill -HUP $(cat /run/nginx.pid)",
            "kill -HUP $MAINPID",
            "killall -HUP rsyslogd",
            "/var/log/apache2/*.log {",
            "apt-get install apache2 restart",
            "[ -x /usr/sbin/apache2 ]",
            "su root httpd",
            "systemctl",
            "kill",
            "service apache2",
        ],
    );
}

#[test]
fn lines_are_those_of_the_file() {
    let text = "/var/log/apache2/*.log {\n\tdaily\n\tpostrotate\n\t\tif pgrep -f ^/usr/sbin/apache2 \
                > /dev/null; then\n\t\t\tinvoke-rc.d apache2 reload 2>&1 | logger -t x\n\t\tfi\n\
                \tendscript\n}\n/b {\n postrotate\n  systemctl \\\n   restart \\\n  apache2\n endscript\n}\n";
    let found = lines(text.as_bytes()).found;
    let shown: Vec<_> = found.iter().map(|it| (it.line, it.verdict, it.command.as_str())).collect();
    assert_eq!(
        shown,
        [
            (5, Verdict::Graceful, "invoke-rc.d apache2 reload 2>&1"),
            (11, Verdict::Full, "systemctl restart apache2"),
        ]
    );
    assert_eq!(found[0].reloads.as_deref(), Some("apache2"));
}

#[test]
fn units_of_another_name_are_known_by_it() {
    let text = b"systemctl restart shop; kill -HUP $(cat /run/shop.pid)";
    assert_eq!(lines(text).found, []);
    let found = lines_naming(text, &["shop"]).found;
    assert_eq!(
        found.iter().map(|it| it.verdict).collect::<Vec<_>>(),
        [Verdict::Full, Verdict::Hard]
    );
}

#[test]
fn what_acme_sh_encodes_is_read() {
    let encoded = STANDARD.encode("systemctl restart apache2");
    let text = format!(
        "Le_Domain='x'\nLe_ReloadCmd='__ACME_BASE64__START_{encoded}__ACME_BASE64__END_'\n"
    );
    assert_eq!(told(&text), [(2, Verdict::Full)]);
    assert_eq!(told("a='__ACME_BASE64__START_%%__ACME_BASE64__END_'\n"), []);
}

#[test]
fn what_a_units_reload_does_is_the_worst_of_it() {
    let of = |commands: &[&str]| reload(commands.iter().map(|command| command.as_bytes()));
    assert_eq!(of(&["/usr/sbin/apachectl graceful"]), Some(Verdict::Graceful));
    assert_eq!(of(&["/usr/sbin/httpd $OPTIONS -k graceful"]), Some(Verdict::Graceful));
    assert_eq!(of(&["/usr/sbin/httpd -t", "/bin/kill -USR1 $MAINPID"]), Some(Verdict::Graceful));
    assert_eq!(of(&["-/bin/kill -HUP ${MAINPID}"]), Some(Verdict::Hard));
    assert_eq!(of(&["/bin/kill -WINCH ${MAINPID}"]), Some(Verdict::Stop));
    assert_eq!(of(&["/bin/sh -c 'kill -HUP $MAINPID'"]), Some(Verdict::Hard));
    assert_eq!(of(&["/usr/bin/systemctl kill -s USR1 %n"]), Some(Verdict::Graceful));
    assert_eq!(of(&["/opt/reload.sh"]), None);
    assert_eq!(of(&[]), None);
}

#[test]
fn no_text_takes_long_or_panics() {
    for piece in
        ["'", "\"", "`", "$(", "(", "\\\n", "a|", "kill -", "systemctl restart apache2;", "${"]
    {
        let text = piece.repeat(20_000);
        assert!(lines(text.as_bytes()).found.len() <= MOST);
        assert!(lines(format!("apache {text} apache").as_bytes()).found.len() <= MOST);
    }
}

#[test]
fn a_talker_counts_only_where_it_is_what_is_called() {
    assert_each(
        Some(Verdict::Full),
        &[
            "flock -n /run/lock/test systemctl restart apache2",
            "flock /run/lock/service systemctl restart apache2",
            "sudo -u mail systemctl restart apache2",
            "sudo --user=mail -n -- systemctl restart apache2",
            "runuser -u man -- systemctl restart apache2",
            "0 3 * * * mail systemctl restart apache2",
            "0 3 * jan mon mail systemctl restart apache2",
            "@daily man systemctl restart apache2",
            "env MODE=test systemctl restart apache2",
            "MODE=test systemctl restart apache2",
            "hook=/usr/bin/systemctl restart apache2",
            "timeout -k 5 60 nice -n 10 ionice -c 3 chronic systemctl restart apache2",
            "systemd-run --unit mail systemctl restart apache2",
            "/opt/run-in /srv/test systemctl restart apache2",
        ],
    );
    let hard = "flock -n /run/lock/apt /usr/sbin/apachectl -k restart";
    assert_each(Some(Verdict::Hard), &[hard]);
    assert_each(
        None,
        &[
            "sudo -u root echo systemctl restart apache2",
            "if test systemctl restart apache2; then x; fi",
            "0 3 * * * root echo systemctl restart apache2",
            "0 3 * * * echo systemctl restart apache2",
            "0 3 * * * mail -s 'x' systemctl restart apache2",
            "@daily nice printf 'systemctl restart apache2'",
            "timeout 5 logger systemctl restart apache2",
            "x | xargs grep systemctl restart apache2",
            "post_hook = echo systemctl restart apache2",
            "X=1 systemctl --user kill -s HUP httpd",
        ],
    );
}

#[test]
fn the_service_managers_methods_are_its_commands() {
    let call = |rest: &str| {
        format!(
            "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 \
             org.freedesktop.systemd1.Manager {rest}"
        )
    };
    for (rest, verdict) in [
        ("RestartUnit ss apache2.service replace", Some(Verdict::Full)),
        ("TryRestartUnit ss 'httpd.service' replace", Some(Verdict::Full)),
        ("StopUnit ss apache2.service replace", Some(Verdict::Stop)),
        ("ReloadUnit ss apache2.service replace", Some(Verdict::Graceful)),
        ("ReloadOrRestartUnit ss apache2.service replace", Some(Verdict::Graceful)),
        ("KillUnit ssi apache2.service main 1", Some(Verdict::Hard)),
        ("KillUnit ssi apache2.service main 10", Some(Verdict::Graceful)),
        ("KillUnit ssi apache2.service all 12", None),
        ("RestartUnit ss nginx.service replace", None),
        ("GetUnit s apache2.service", None),
    ] {
        assert_each(verdict, &[&call(rest)]);
    }
    let found = lines(call("ReloadUnit ss httpd@a.service replace").as_bytes()).found;
    assert_eq!(found[0].reloads.as_deref(), Some("httpd@a"));
    assert_each(
        Some(Verdict::Full),
        &[
            "dbus-send --system --dest=org.freedesktop.systemd1 /org/freedesktop/systemd1 \
             org.freedesktop.systemd1.Manager.RestartUnit string:apache2.service string:replace",
            "gdbus call --system -d org.freedesktop.systemd1 -o /org/freedesktop/systemd1 -m \
             org.freedesktop.systemd1.Manager.RestartUnit \"'httpd.service'\" replace",
        ],
    );
    assert_each(None, &["busctl --user call a b c RestartUnit ss httpd.service replace"]);
}

#[test]
fn of_a_line_only_the_command_is_shown_that_does_it() {
    for (line, expected) in [
        (
            "PASSWORD=hunter2 curl -u a:sekret https://x; systemctl restart apache2",
            "systemctl restart apache2",
        ),
        ("5 4 * * * root TOKEN='sek ret' systemctl restart apache2", "systemctl restart apache2"),
        ("env TOKEN=sekret /usr/sbin/apachectl -k restart", "/usr/sbin/apachectl -k restart"),
        ("service apache2 restart # pass: sekret", "service apache2 restart"),
        ("x -p sekret --hook \"A=sekret service httpd stop\" sekret", "service httpd stop"),
        ("sshpass -p sekret httpd -k restart && x sekret", "httpd -k restart"),
        ("x sekret | A=sekret xargs -r kill -HUP httpd", "xargs -r kill -HUP httpd"),
        ("hook = kill -HUP $(cat '/run/httpd.pid')", "kill -HUP $(cat '/run/httpd.pid')"),
    ] {
        let found = lines(line.as_bytes()).found;
        let shown: Vec<_> = found.iter().map(|it| it.command.as_str()).collect();
        assert_eq!(shown, [expected], "{line}");
    }
}

#[test]
fn what_is_left_out_is_counted_and_hides_nothing_worse() {
    let text = "service apache2 reload\n".repeat(MOST + 3) + "service apache2 restart\n";
    let told = lines(text.as_bytes());
    assert_eq!((told.found.len(), told.left_out, told.is_cut), (MOST + 1, 3, false));
    assert_eq!(told.found.last().unwrap().verdict, Verdict::Full);
    let text = "true\n".repeat(20_001) + "service apache2 restart\n";
    assert!(lines(text.as_bytes()).is_cut);
    let text = "x ".repeat(501) + "systemctl restart apache2";
    assert!(lines(text.as_bytes()).is_cut);
}
