//! A real Prometheus on loopback, which scrapes and evaluates every second, and what its API says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::eventually::eventually;
use super::http;

const TIMEOUT: Duration = Duration::from_secs(10);

/// It is killed on drop, and prints its log if that is a panic's.
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
}

/// Labels, `__name__` included.
pub(crate) type Labels = BTreeMap<String, String>;

impl Prometheus {
    /// With these rules and no target; returns when it listens.
    pub(crate) fn start(rules: &str) -> Self {
        let directory = TempDir::with_prefix("prometheus-").unwrap();
        let path = directory.path();
        fs::write(path.join("rules.yml"), rules).unwrap();
        let configuration = "
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
  - job_name: anything
    file_sd_configs:
      - files: [targets.json]
        refresh_interval: 1s
";
        fs::write(path.join("prometheus.yml"), configuration).unwrap();
        fs::write(path.join("targets.json"), "[]").unwrap();
        let spawned = Command::new("prometheus")
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg("--web.listen-address=127.0.0.1:0")
            .current_dir(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(path.join("log")).unwrap())
            .process_group(0)
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("prometheus is not installed, and this is not skipped: install it")
            }
            Err(error) => panic!("start prometheus: {error}"),
        };
        let address = eventually("Prometheus listens", || {
            let log = fs::read_to_string(path.join("log")).unwrap();
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "Prometheus ended, {ended:?}:\n{log}");
            log.contains("Server is ready to receive web requests").then(|| address_in(&log))?
        });
        Self { child, address, directory }
    }

    /// Scrapes these from now on, and nothing else.
    pub(crate) fn scrape(&self, targets: &[SocketAddr]) {
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        let groups = serde_json::json!([{ "targets": targets }]);
        let [new, file] =
            ["targets.new", "targets.json"].map(|name| self.directory.path().join(name));
        fs::write(&new, groups.to_string()).unwrap();
        fs::rename(new, file).unwrap();
    }

    /// What an expression yields now.
    #[track_caller]
    pub(crate) fn query(&self, expression: &str) -> Vec<(Labels, f64)> {
        let data = self.ask(&format!("/api/v1/query?query={}", encoded(expression)));
        let results = data["result"].as_array().expect("an instant vector");
        results
            .iter()
            .map(|result| {
                let value = result["value"][1].as_str().unwrap().parse().unwrap();
                (labels(&result["metric"]), value)
            })
            .collect()
    }

    /// The alerts that fire now, each with its labels and its annotations.
    #[track_caller]
    pub(crate) fn firing(&self) -> Vec<(Labels, Labels)> {
        let data = self.ask("/api/v1/alerts");
        let alerts = data["alerts"].as_array().unwrap();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing.map(|alert| (labels(&alert["labels"]), labels(&alert["annotations"]))).collect()
    }

    /// Name and server of every alert that fired at any time.
    #[track_caller]
    pub(crate) fn ever_fired(&self) -> BTreeSet<(String, String)> {
        let fired = self.query("count_over_time(ALERTS{alertstate=\"firing\"}[1h])");
        let name = |labels: &Labels, key| labels.get(key).cloned().unwrap_or_default();
        fired.iter().map(|(it, _)| (name(it, "server"), name(it, "alertname"))).collect()
    }

    #[track_caller]
    fn ask(&self, path: &str) -> serde_json::Value {
        let response = http::get(self.address, path, TIMEOUT)
            .unwrap_or_else(|error| panic!("GET {path} of Prometheus: {error}"));
        assert_eq!(response.status, 200, "{path}: {}", response.body);
        serde_json::from_str::<serde_json::Value>(&response.body).unwrap()["data"].take()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _: std::io::Result<()> = self.child.kill();
        let _: std::io::Result<std::process::ExitStatus> = self.child.wait();
        if thread::panicking() {
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            eprintln!("Prometheus:\n{log}");
        }
    }
}

fn address_in(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains("msg=\"Listening on\""))?;
    line.split_once("address=")?.1.split_ascii_whitespace().next()?.parse().ok()
}

fn labels(value: &serde_json::Value) -> Labels {
    let pairs = value.as_object().unwrap().iter();
    pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

/// As a query of a URL.
fn encoded(text: &str) -> String {
    let mut url = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            url.push(char::from(byte));
        } else {
            write!(url, "%{byte:02X}").unwrap();
        }
    }
    url
}
