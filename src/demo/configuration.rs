//! What the private httpd and the process that watches it are told.

use std::{fmt::Write as _, net::SocketAddr, path::Path};

use super::installation::{Installation, User};

/// The main configuration of an httpd in `directory`; `user` for its children, if it is root's.
#[must_use]
pub fn httpd(
    installation: &Installation,
    directory: &Path,
    address: SocketAddr,
    user: Option<&User>,
    scoreboard: Scoreboard,
) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        r#"ServerRoot "{directory}"
ServerName localhost
DefaultRuntimeDir "{directory}/run"
PidFile "{directory}/run/httpd.pid"
ErrorLog "{directory}/logs/error_log"
DocumentRoot "{directory}/htdocs"
Listen {address}
KeepAlive Off
"#,
        directory = directory.display()
    );
    let modules = installation.modules.display();
    for name in installation
        .mpm
        .map(|mpm| format!("mpm_{mpm}"))
        .iter()
        .map(String::as_str)
        .chain(["unixd", "authz_core"])
    {
        // Debian has unixd compiled in.
        if installation.modules.join(format!("mod_{name}.so")).exists() {
            let _ = writeln!(text, "LoadModule {name}_module \"{modules}/mod_{name}.so\"");
        }
    }
    if let Some(User { name, group }) = user {
        let _ = writeln!(text, "User {name}\nGroup #{group}");
    }
    if scoreboard == Scoreboard::File {
        let _ = writeln!(text, "ScoreBoardFile \"{}/run/scoreboard\"", directory.display());
    }
    text.push_str(CHILDREN);
    text
}

/// Few children, and room for an old generation besides.
const CHILDREN: &str = "\
ServerLimit 6
StartServers 2
<IfModule !mpm_prefork_module>
    ThreadLimit 5
    ThreadsPerChild 5
    MinSpareThreads 1
    MaxSpareThreads 20
    MaxRequestWorkers 15
</IfModule>
<IfModule mpm_prefork_module>
    MinSpareServers 1
    MaxSpareServers 5
    MaxRequestWorkers 6
</IfModule>
";

/// Where httpd keeps its scoreboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scoreboard {
    /// In its own memory, as installations have it.
    Memory,
    /// In a file of /dev/shm, for whom its memory is closed.
    File,
}

/// The configuration of the process that watches the httpd in `directory`.
#[must_use]
pub fn gracekeeper(directory: &Path) -> String {
    // TOML's strings are JSON's.
    let pid_file = directory.join("run/httpd.pid").to_string_lossy().into_owned();
    let pid_file = serde_json::Value::from(pid_file);
    let state = directory.join("state").to_string_lossy().into_owned();
    let state = serde_json::Value::from(state);
    format!("[watch]\nstate_dir = {state}\n[[server]]\nname = \"demo\"\npid_file = {pid_file}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_in_is_not_loaded_and_root_has_a_user() {
        let installation =
            Installation { program: "/p".into(), modules: "/nowhere".into(), mpm: Some("event") };
        let user = User { name: "daemon", group: 7 };
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let of =
            |user, scoreboard| httpd(&installation, Path::new("/d"), address, user, scoreboard);
        let text = of(Some(&user), Scoreboard::Memory);
        assert!(!text.contains("LoadModule") && !text.contains("ScoreBoardFile"), "{text}");
        assert!(text.contains("\nUser daemon\nGroup #7\n"), "{text}");
        let text = of(None, Scoreboard::File);
        assert!(text.contains("ScoreBoardFile \"/d/run/scoreboard\"\n"), "{text}");
        assert!(!text.contains("User"), "{text}");
    }

    #[test]
    fn any_path_is_a_string_of_toml() {
        let text = gracekeeper(Path::new("/a \"b\"\\c"));
        assert!(text.ends_with("pid_file = \"/a \\\"b\\\"\\\\c/run/httpd.pid\"\n"), "{text}");
    }
}
