//! A httpd of one's own hides nothing: a sidecar runs as the user that started it.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, geteuid, kill_process, kill_process_group};

use super::{over, restarts};
use crate::harness::{Gracekeeper, Httpd, Mpm, eventually, http, process, under_every_mpm};

under_every_mpm! {
    the_user_who_started_httpd_sees_everything
}

const NOBODY: u32 = 65534;

/// A httpd that an ordinary user started, in the directory and on the port of one that was stopped.
struct Own(Child);

impl Own {
    fn start(httpd: &Httpd) -> Self {
        httpd.stop();
        eventually("root's httpd has stopped", || httpd.processes().is_empty());
        httpd.rewrite_config(|text| text.replace("User www-data\nGroup www-data\n", ""));
        let directory = httpd.directory();
        for name in ["run", "logs", "logs/error_log"] {
            chown(directory.join(name), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut command = Command::new("/usr/sbin/apache2");
        command.arg("-d").arg(directory).arg("-f").arg(httpd.configuration_file());
        command.args(["-D", "FOREGROUND"]).env_clear().env("TZ", "UTC");
        command.env(process::MARK, directory).stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.uid(NOBODY).gid(NOBODY).process_group(0).spawn().unwrap();
        let own = Self(child);
        eventually("it answers", || {
            http::get(httpd.address(), "/", Duration::from_secs(5)).is_ok()
        });
        own
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.0);
        let _: rustix::io::Result<()> = kill_process_group(group, Signal::KILL);
        let _: std::io::Result<ExitStatus> = self.0.wait();
    }
}

fn the_user_who_started_httpd_sees_everything(mpm: Mpm) {
    if !geteuid().is_root() {
        // Then every other test's httpd is the test's own.
        return;
    }
    let httpd = Httpd::builder(mpm).start();
    let own = Own::start(&httpd);
    assert!(fs::read_to_string(httpd.pid_file()).unwrap().trim() == own.0.id().to_string());
    let gracekeeper =
        Gracekeeper::watching(&httpd).server("error_log = \"none\"").run_by_nobody().start();
    gracekeeper.wait_until("it is seen serving, by its scoreboard", |metrics| {
        metrics.value("gracekeeper_source_up", &[("source", "scoreboard")]) == Some(1.0)
            && metrics.value("httpd_generation", &[]) == Some(0.0)
            && metrics.value("httpd_serving", &[]) == Some(1.0)
    });
    for (signal, expected) in
        [(Signal::USR1, [1.0, 0.0, 0.0, 0.0]), (Signal::HUP, [1.0, 1.0, 0.0, 0.0])]
    {
        own.signal(signal);
        gracekeeper.wait_until("it is told by the scoreboard", |metrics| {
            restarts(metrics) == expected && metrics.value("httpd_serving", &[]) == Some(1.0)
        });
    }
    let metrics = over(&httpd, &gracekeeper);
    assert_eq!(metrics.value("httpd_generation", &[]), Some(2.0));
    assert!(metrics.total("httpd_workers", &[]) > 0.0);
}
