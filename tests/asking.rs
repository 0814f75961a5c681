//! What httpd says of itself when it is asked: by running it with `-t`, and through `mod_status`.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io::Read as _,
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt as _, net::UnixStream, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, SystemTime},
};

use gracekeeper::{
    model::{
        process::{Pid, ProcessId},
        source::Why,
    },
    observe::{
        asked::{Answer, AskError, Asker, ErrorLogPlace, Question, Surroundings},
        process_table::ProcessTable,
        reader::{self, Given, Request, Wanted},
        server_status::{StatusAsked, StatusAsker},
        wake::Wake,
    },
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pipe::{PipeFlags, pipe_with},
    process::geteuid,
};
use tempfile::TempDir;

use crate::harness::{Httpd, Mpm, eventually, not_tested, under_every_mpm};

under_every_mpm! {
    a_real_httpd_says_where_its_files_are
    mod_status_tells_the_generation
    mod_status_is_silent_while_every_worker_is_busy
}

/// A redirection to what would be a right answer.
const AWAY: &str = "LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
Redirect /away /server-status?auto";

fn table() -> ProcessTable {
    ProcessTable::new("/proc".into())
}

pub(crate) fn identity(pid: u32) -> ProcessId {
    table().row(Pid::new(i32::try_from(pid).unwrap()).unwrap()).unwrap().id
}

pub(crate) fn question(parent: ProcessId) -> Question {
    Question { parent, program: None, arguments: None, environment_file: None, environment: None }
}

fn ear() -> (OwnedFd, Wake) {
    let (ear, wake) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
    (ear, Wake::new(wake))
}

fn listen(ear: &OwnedFd) {
    let timeout = Timespec { tv_sec: 60, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(ear, PollFlags::IN)], Some(&timeout)).unwrap(), 1);
    rustix::io::read(ear, &mut [0; 64]).unwrap();
}

pub(crate) fn ask(question: Question) -> Result<Answer, AskError> {
    let (ear, wake) = ear();
    let asker = Asker::start(table(), wake).unwrap();
    asker.ask(5, question);
    listen(&ear);
    let answer = asker.answers().next().unwrap();
    assert_eq!(answer.server, 5);
    answer.result
}

fn refusal(question: Question) -> String {
    ask(question).unwrap_err().to_string()
}

/// Every path below a directory, with its time and size.
fn listing(directory: &Path) -> BTreeMap<PathBuf, (SystemTime, u64)> {
    let mut listed = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            listed.extend(listing(&path));
        }
        listed.insert(path, (metadata.modified().unwrap(), metadata.len()));
    }
    listed
}

fn a_real_httpd_says_where_its_files_are(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).with_cgid().extra("IncludeOptional conf.d/*.conf").start();
    let (directory, parent) = (httpd.directory().to_owned(), identity(httpd.pid()));
    fs::create_dir(directory.join("conf.d")).unwrap();
    let before = listing(&directory);
    let answer = ask(question(parent)).unwrap();
    assert_eq!(listing(&directory), before, "asking writes nothing");
    assert_eq!(answer.error_log, Some(ErrorLogPlace::File(directory.join("logs/error_log"))));
    assert_eq!(answer.pid_file, Some(httpd.pid_file()));
    assert_eq!(answer.server_root.as_deref(), Some(directory.as_path()));
    assert_eq!(answer.includes, [httpd.configuration_file()]);
    assert!(!answer.includes_are_cut);

    let included = directory.join("conf.d/a b.conf");
    fs::write(&included, "ErrorLog syslog:local1\nPidFile run/other.pid\n").unwrap();
    let answer = ask(question(parent)).unwrap();
    assert_eq!(answer.error_log, Some(ErrorLogPlace::Syslog));
    assert_eq!(answer.pid_file, Some(directory.join("run/other.pid")));
    assert_eq!(answer.includes, [httpd.configuration_file(), included.clone()]);

    fs::write(&included, "ErrorLog \"|/bin/cat > /dev/null\"\n").unwrap();
    assert_eq!(ask(question(parent)).unwrap().error_log, Some(ErrorLogPlace::Pipe));

    fs::write(&included, "Nonsense on\n").unwrap();
    let error = ask(question(parent)).unwrap_err();
    assert_eq!(error.why(), Why::Invalid);
    let text = error.to_string();
    assert!(text.contains("apache2 ended with exit status: 1"), "{text}");
    assert!(text.contains("Invalid command 'Nonsense'"), "{text}");
    let AskError::Failed { is_wrong, included: told, .. } = error else { panic!("{error:?}") };
    assert!(is_wrong, "it is wrong for everybody");
    assert_eq!(told, [httpd.configuration_file(), included]);
    assert!(httpd.parent_is_alive() && httpd.generation() == Some(0));
}

#[test]
fn what_an_operator_says_goes_before_what_the_parent_says() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let directory = httpd.directory().to_owned();
    let other = directory.join("other.conf");
    let text = fs::read_to_string(httpd.configuration_file()).unwrap();
    fs::write(&other, format!("{text}\nErrorLog ${{GRACEKEEPER_LOGS}}/other_log\n")).unwrap();
    let script = directory.join("envvars");
    fs::write(&script, format!("GRACEKEEPER_LOGS={}/logs\n", directory.display())).unwrap();
    for file in [&other, &script] {
        fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
    }
    let expected = Some(ErrorLogPlace::File(directory.join("logs/other_log")));
    let own = Question {
        arguments: Some(vec!["-f".into(), other.clone().into()]),
        program: Some("/usr/sbin/apache2".into()),
        environment_file: Some(script),
        ..question(identity(httpd.pid()))
    };
    let answer = ask(own.clone()).unwrap();
    assert_eq!(answer.error_log, expected);
    assert_eq!(answer.includes, [other]);
    let given = format!("GRACEKEEPER_LOGS={}/logs\0LD_PRELOAD=/nowhere.so\0", directory.display());
    let given = Surroundings { environment: Some(given.into_bytes()), identity: None };
    let given = Question { environment_file: None, environment: Some(given), ..own.clone() };
    assert_eq!(ask(given).unwrap().error_log, expected);
    let relative = Question { arguments: Some(vec!["-d".into(), "here".into()]), ..own };
    assert_eq!(refusal(relative), "refused: the parent's -d is relative");
}

/// A process that looks as if it were called by this program and these arguments.
struct Impostor(Child);

impl Impostor {
    fn start(program: &Path, uid: Option<u32>, arguments: &[&str]) -> Self {
        let mut command = Command::new("/bin/sh");
        // `read` waits until it is killed.
        command.arg0(program).args(["-c", "read never"]).args(arguments);
        Self::run(command, program, uid)
    }

    /// Runs the program itself, so that it is what it is called.
    fn trapped(trap: &Trap, uid: Option<u32>) -> Self {
        let mut command = Command::new(&trap.program);
        command.args(["-c", &trap.script()]);
        Self::run(command, &trap.program, uid)
    }

    fn run(mut command: Command, called: &Path, uid: Option<u32>) -> Self {
        command.stdin(std::process::Stdio::piped());
        if let Some(uid) = uid {
            command.uid(uid);
        }
        let impostor = Self(command.spawn().unwrap());
        let line = format!("/proc/{}/cmdline", impostor.0.id());
        eventually("it is called so", || {
            fs::read(&line).unwrap().starts_with(called.as_os_str().as_encoded_bytes())
        });
        impostor
    }

    fn question(&self) -> Question {
        question(identity(self.0.id()))
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A program that leaves a trace whenever it is run with the arguments that it was started with.
struct Trap {
    directory: TempDir,
    program: PathBuf,
}

impl Trap {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let program = directory.path().join("httpd");
        fs::copy("/bin/sh", &program).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        Self { directory, program }
    }

    fn trace(&self) -> PathBuf {
        self.directory.path().join("was-run")
    }

    fn script(&self) -> String {
        format!("echo yes > {}; read never; exit 0", self.trace().display())
    }

    /// The start of the impostor itself leaves one.
    fn set(&self) {
        eventually("it was started", || self.trace().exists());
        fs::remove_file(self.trace()).unwrap();
    }
}

#[test]
fn a_program_that_others_may_write_is_not_run() {
    let trap = Trap::new();
    let impostor = Impostor::trapped(&trap, None);
    trap.set();
    let error = ask(impostor.question()).unwrap_err();
    assert!(matches!(error, AskError::Silent { .. }), "nobody else may write it: {error}");
    fs::remove_file(trap.trace()).unwrap();
    for (path, mode) in [(trap.program.as_path(), 0o775), (trap.directory.path(), 0o777)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let refused = refusal(impostor.question());
        assert!(refused.starts_with("refused: others may write "), "{refused}");
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    assert!(!trap.trace().exists());
}

#[test]
fn a_parent_that_runs_something_else_than_it_is_called_is_not_asked() {
    let trap = Trap::new();
    let mut command = Command::new("/bin/sh");
    command.arg0(&trap.program).args(["-c", &trap.script()]);
    let impostor = Impostor::run(command, &trap.program, None);
    trap.set();
    let refused = refusal(impostor.question());
    assert!(refused.starts_with("refused: the parent is called "), "{refused}");
    assert!(!trap.trace().exists());
}

#[test]
fn what_a_parent_in_another_mount_namespace_names_is_not_loaded() {
    if !geteuid().is_root() {
        return not_tested("nobody but root can make a mount namespace");
    }
    let trap = Trap::new();
    let mut command = Command::new("unshare");
    command.arg("-m").arg(&trap.program).args(["-c", &trap.script()]);
    let impostor = Impostor::run(command, &trap.program, None);
    trap.set();
    let refused = refusal(impostor.question());
    assert!(refused.contains("mounts may not be one's own, was started with echo"), "{refused}");
    assert!(!trap.trace().exists());
}

#[test]
fn an_included_file_that_others_may_write_is_not_read_again() {
    let httpd = Httpd::builder(Mpm::Event).extra("IncludeOptional conf.d/*.conf").start();
    let directory = httpd.directory().join("conf.d");
    fs::create_dir(&directory).unwrap();
    let included = directory.join("a.conf");
    fs::write(&included, "ErrorLog syslog\n").unwrap();
    fs::set_permissions(&included, Permissions::from_mode(0o644)).unwrap();
    let (ear, wake) = ear();
    let asker = Asker::start(table(), wake).unwrap();
    let ask = || {
        asker.ask(5, question(identity(httpd.pid())));
        listen(&ear);
        asker.answers().next().unwrap().result
    };
    assert_eq!(ask().unwrap().error_log, Some(ErrorLogPlace::Syslog));
    ask().unwrap();
    fs::set_permissions(&included, Permissions::from_mode(0o666)).unwrap();
    let error = ask().unwrap_err();
    assert_eq!(error.why(), Why::Permission);
    let expected = format!("refused: others may write {}", included.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
    fs::set_permissions(&included, Permissions::from_mode(0o644)).unwrap();
    ask().unwrap();
}

/// Asks for this configuration, which lies below the trap as `httpd.conf`; whether the program was
/// run, and what was said.
fn sprung(trap: &Trap, impostor: &Impostor, text: &str) -> (bool, String) {
    let file = trap.directory.path().join("httpd.conf");
    // The program is a shell, and runs what it is told to read.
    fs::write(&file, format!("touch {}\n{text}", trap.trace().display())).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let root = trap.directory.path();
    let arguments = vec!["-f".into(), file.into(), "-c".into(), "Define LAST 1".into()];
    let given = format!("ROOT={}\0", root.display()).into_bytes();
    let said = refusal(Question {
        program: Some(trap.program.clone()),
        arguments: Some(arguments),
        environment: Some(Surroundings { environment: Some(given), identity: None }),
        ..impostor.question()
    });
    (fs::remove_file(trap.trace()).is_ok(), said)
}

#[test]
fn nothing_is_run_that_reads_or_loads_what_others_may_write() {
    let trap = Trap::new();
    let impostor = Impostor::trapped(&trap, None);
    trap.set();
    let root = trap.directory.path();
    let path = |name: &str| root.join(name);
    for directory in ["inc", "modules", "deep"] {
        fs::create_dir(path(directory)).unwrap();
        fs::set_permissions(path(directory), Permissions::from_mode(0o755)).unwrap();
    }
    let inner = format!("LoadModule evil_module {}/modules/evil.so\n", root.display());
    for (name, text) in [("inc/a.conf", inner.as_str()), ("modules/evil.so", "")] {
        fs::write(path(name), text).unwrap();
        fs::set_permissions(path(name), Permissions::from_mode(0o644)).unwrap();
    }
    let nested = format!("IncludeOptional {}/inc/*.conf\n", root.display());
    fs::write(path("deep/b.conf"), &nested).unwrap();
    fs::set_permissions(path("deep/b.conf"), Permissions::from_mode(0o644)).unwrap();
    let ways = [
        nested.clone(),
        format!("<IfModule !never>\nInclude {}/inc\n</IfModule>\n", root.display()),
        "Define IN ${ROOT}/inc\nInclude ${IN}/a.conf\n".to_owned(),
        "ServerRoot ${ROOT}\nInclude deep/*.conf\n".to_owned(),
        "<Macro M $x>\nInclude ${ROOT}/$x/*.conf\n</Macro>\nUse M inc\n".to_owned(),
    ];
    for way in &ways {
        let (was_run, said) = sprung(&trap, &impostor, way);
        assert!(was_run, "nobody else may write any of it: {way} {said}");
        for (name, mode) in [("inc", 0o777), ("inc/a.conf", 0o666), ("modules/evil.so", 0o664)] {
            let before = fs::metadata(path(name)).unwrap().permissions();
            fs::set_permissions(path(name), Permissions::from_mode(mode)).unwrap();
            let (was_run, said) = sprung(&trap, &impostor, way);
            fs::set_permissions(path(name), before).unwrap();
            assert!(!was_run, "{way} {name}");
            let expected = format!("refused: others may write {}: its mode", path(name).display());
            assert!(said.starts_with(&expected), "{way} {said}");
        }
    }
    let (was_run, said) = sprung(&trap, &impostor, "Include ${NOBODY_KNOWS}/x.conf\n");
    assert_eq!(was_run, !geteuid().is_root(), "{said}");
    if geteuid().is_root() {
        for name in ["inc", "inc/a.conf", "modules/evil.so"] {
            std::os::unix::fs::chown(path(name), Some(65534), None).unwrap();
            let (was_run, said) = sprung(&trap, &impostor, &nested);
            std::os::unix::fs::chown(path(name), Some(0), None).unwrap();
            assert!(!was_run && said.contains("its owner 65534"), "{said}");
        }
    }
}

#[test]
fn a_real_httpd_is_not_asked_while_others_may_add_to_its_configuration() {
    let httpd = Httpd::builder(Mpm::Event).extra("IncludeOptional inc/*.conf").start();
    let directory = httpd.directory().join("inc");
    fs::create_dir(&directory).unwrap();
    for (mode, is_answered) in [(0o755, true), (0o777, false), (0o1777, false), (0o755, true)] {
        fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
        let result = ask(question(identity(httpd.pid())));
        assert_eq!(result.is_ok(), is_answered, "{mode:o} {result:?}");
        if let Err(error) = result {
            assert_eq!(error.why(), Why::Permission);
        }
    }
}

#[test]
fn a_configuration_that_others_may_write_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("httpd.conf");
    fs::write(&file, "LoadModule evil_module evil.so\n").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    let program = Path::new("/usr/sbin/apache2");
    let impostor = Impostor::start(program, None, &["-f", file.to_str().unwrap()]);
    let question =
        Question { arguments: Some(vec!["-f".into(), file.clone().into()]), ..impostor.question() };
    let refused = refusal(question);
    let expected = format!("refused: others may write {}: its mode is 0666", file.display());
    assert!(refused.starts_with(&expected), "{refused}");
}

#[test]
fn root_runs_nothing_for_another_users_parent() {
    if !geteuid().is_root() {
        return not_tested("nobody but root can start another user's process");
    }
    let trap = Trap::new();
    let impostor = Impostor::trapped(&trap, Some(65534));
    let refused = refusal(impostor.question());
    assert!(refused.starts_with("refused: the parent belongs to uid 65534"), "{refused}");
    let configured = Question { program: Some(trap.program.clone()), ..impostor.question() };
    assert!(refusal(configured).starts_with("refused: the parent belongs to uid 65534"));
    assert!(!trap.trace().exists());
}

#[test]
fn the_reading_process_hands_over_the_environment_of_a_httpd_only() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let stranger = Impostor::start(Path::new("/usr/sbin/apache2"), None, &[]);
    let (mut own, other) = UnixStream::pair().unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_gracekeeper"))
        .arg("reader")
        .stdin(OwnedFd::from(other))
        .spawn()
        .unwrap();
    let mut serial = 0;
    let mut environment = |pid: u32| {
        serial += 1;
        let request = Request { serial, parent: identity(pid), wanted: Wanted::Environment };
        reader::send(&mut own, &request).unwrap();
        let (mut come, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            let read = own.read(&mut chunk).unwrap();
            assert!(read > 0, "the reading process has ended");
            come.extend_from_slice(&chunk[..read]);
            if let Some(answer) = reader::take_frame::<reader::Answer>(&mut come).unwrap() {
                let Given::Environment(given) = answer.given else { panic!("{answer:?}") };
                break given;
            }
        }
    };
    let given = environment(httpd.pid()).unwrap();
    // The harness gives its httpd this time zone.
    assert!(given.split(|byte| *byte == 0).any(|variable| variable == b"TZ=UTC"), "{given:?}");
    assert_eq!(environment(stranger.0.id()), Err(Why::Missing), "it has no scoreboard");
    process.kill().unwrap();
    process.wait().unwrap();
}

fn status(httpd: &Httpd, path: &str) -> StatusAsked {
    let (ear, wake) = ear();
    let mut asker = StatusAsker::start(wake).unwrap();
    let url = format!("http://{}{path}", httpd.address()).parse().unwrap();
    assert!(asker.ask(9, &url));
    listen(&ear);
    asker.answers().pop().unwrap()
}

fn mod_status_tells_the_generation(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).extra(AWAY).start();
    let before = status(&httpd, "/server-status?auto").sighting.result.unwrap();
    assert_eq!(before.generation, Some(0));
    assert!(before.version.unwrap().starts_with("Apache/2.4"));
    assert!(before.busy_workers >= 1 && before.uptime.is_some());
    assert_eq!(before.processes.is_some(), mpm == Mpm::Event);
    httpd.graceful();
    httpd.oracle().after_restarts(1);
    let after = eventually("the new generation answers", || {
        status(&httpd, "/server-status?auto")
            .sighting
            .result
            .ok()
            .filter(|it| it.generation == Some(1))
    });
    assert_eq!(after.mpm, before.mpm);
    for path in ["/server-status", "/nothing", "/away", "/"] {
        assert_eq!(status(&httpd, path).sighting.result, Err(Why::Invalid), "{path}");
    }
}

fn mod_status_is_silent_while_every_worker_is_busy(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).start();
    let held = httpd.hold_all_workers();
    let asked = status(&httpd, "/server-status?auto");
    assert_eq!(asked.sighting.result, Err(Why::Timeout));
    let took = asked.sighting.answered.since(asked.sighting.asked);
    assert!(took >= Duration::from_secs(2), "{took:?}");
    held.release();
    eventually("a worker is free", || status(&httpd, "/server-status?auto").sighting.result.ok());
}
