//! The corpora of the fuzz targets, run by a plain `cargo test`.

use std::{fs, path::Path};

#[path = "fuzz/fuzz_targets/answer_input.rs"]
mod answer_input;
#[path = "fuzz/fuzz_targets/cgroup_input.rs"]
mod cgroup_input;
#[path = "fuzz/fuzz_targets/error_log_input.rs"]
mod error_log_input;
#[path = "fuzz/fuzz_targets/history_input.rs"]
mod history_input;
#[path = "fuzz/fuzz_targets/host_input.rs"]
mod host_input;
#[path = "fuzz/fuzz_targets/journal_input.rs"]
mod journal_input;
#[path = "fuzz/fuzz_targets/kernel_input.rs"]
mod kernel_input;
#[path = "fuzz/fuzz_targets/process_input.rs"]
mod process_input;
#[path = "fuzz/fuzz_targets/scoreboard_input.rs"]
mod scoreboard_input;
#[path = "fuzz/fuzz_targets/socket_input.rs"]
mod socket_input;
#[path = "fuzz/fuzz_targets/state_input.rs"]
mod state_input;
#[path = "fuzz/fuzz_targets/tls_input.rs"]
mod tls_input;

pub(crate) use error_log_input::run as run_error_log;
pub(crate) use history_input::run as run_history;
pub(crate) use scoreboard_input::check;

fn survives(target: &str, at_least: usize, run: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let inputs: Vec<_> = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(inputs.len() >= at_least, "{target}: {} inputs", inputs.len());
    for input in inputs {
        run(&fs::read(&input).unwrap());
    }
}

#[test]
fn the_corpus_of_scoreboards_is_survived() {
    survives("scoreboard", 20, scoreboard_input::run);
}

#[test]
fn the_corpus_of_pid_files_is_survived() {
    survives("pid_file", 8, process_input::pid_file);
}

#[test]
fn the_corpus_of_process_stats_is_survived() {
    survives("process_stat", 8, process_input::process_stat);
}

#[test]
fn the_corpus_of_process_memories_is_survived() {
    survives("process_memory", 8, process_input::process_memory);
}

#[test]
fn the_corpus_of_command_lines_is_survived() {
    survives("command_line", 8, process_input::command_line);
}

#[test]
fn the_corpus_of_main_configurations_is_survived() {
    survives("main_configuration", 8, process_input::main_configuration);
}

#[test]
fn the_corpus_of_states_is_survived() {
    let believed = std::cell::Cell::new(0);
    survives("state", 12, |input| {
        let document = gracekeeper::state::document::Document::decode(input);
        believed.set(believed.get() + i32::from(document.is_ok()));
        state_input::run(input);
    });
    assert!(believed.get() >= 9, "only {} are believed", believed.get());
}

#[test]
fn the_corpus_of_error_logs_is_survived() {
    survives("error_log", 16, error_log_input::run);
}

#[test]
fn the_corpus_of_histories_is_survived() {
    survives("history", 10, history_input::run);
}

#[test]
fn the_corpus_of_run_configurations_is_survived() {
    survives("run_configuration", 8, answer_input::run_configuration);
}

#[test]
fn the_corpus_of_includes_is_survived() {
    survives("includes", 8, answer_input::includes);
}

#[test]
fn the_corpus_of_directives_is_survived() {
    survives("directives", 10, answer_input::directives);
}

#[test]
fn the_corpus_of_server_statuses_is_survived() {
    survives("server_status", 8, answer_input::server_status);
}

#[test]
fn the_corpus_of_build_settings_is_survived() {
    survives("build_settings", 8, answer_input::build_settings);
}

#[test]
fn the_corpus_of_journals_is_survived() {
    let entries = std::cell::Cell::new(0);
    survives("journal", 10, |input| entries.set(entries.get() + journal_input::run(input)));
    assert_eq!(entries.get(), 12, "that many lines are entries");
}

#[test]
fn the_corpus_of_cgroups_is_survived() {
    survives("cgroup", 12, cgroup_input::run);
}

#[test]
fn the_corpus_of_system_v_tables_is_survived() {
    survives("sysvipc", 10, kernel_input::sysvipc);
}

#[test]
fn the_corpus_of_descriptor_limits_is_survived() {
    survives("descriptor_limit", 8, kernel_input::descriptor_limit);
}

#[test]
fn the_corpus_of_descriptor_flags_is_survived() {
    survives("descriptor_flags", 8, kernel_input::descriptor_flags);
}

#[test]
fn the_corpus_of_socket_diagnoses_is_survived() {
    let sockets = std::cell::Cell::new(0);
    survives("socket_diagnosis", 10, |input| {
        sockets.set(sockets.get() + socket_input::socket_diagnosis(input));
    });
    assert_eq!(sockets.get(), 39, "that many are read");
}

#[test]
fn the_corpus_of_netstats_is_survived() {
    let read = std::cell::Cell::new(0);
    survives("netstat", 8, |input| read.set(read.get() + i32::from(socket_input::netstat(input))));
    assert_eq!(read.get(), 4, "that many tell of drops");
}

#[test]
fn the_corpus_of_certificates_is_survived() {
    let read = std::cell::Cell::new(0);
    survives("certificate", 20, |input| {
        read.set(read.get() + i32::from(tls_input::certificate(input)));
    });
    assert_eq!(read.get(), 11, "that many are certificates");
}

#[test]
fn the_corpus_of_private_keys_is_survived() {
    let read = std::cell::RefCell::new([0; 3]);
    survives("private_key", 20, |input| {
        let kind = match tls_input::private_key(input) {
            None => 0,
            Some(false) => 1,
            Some(true) => 2,
        };
        read.borrow_mut()[kind] += 1;
    });
    assert_eq!(read.into_inner(), [9, 11, 6], "no keys, plain ones, encrypted ones");
}

#[test]
fn the_corpus_of_certificate_lists_is_survived() {
    let read = std::cell::Cell::new(0);
    survives("certificate_list", 10, |input| {
        read.set(read.get() + answer_input::certificate_list(input));
    });
    assert!(read.get() > 320, "{} names", read.get());
}

#[test]
fn the_corpus_of_callers_is_survived() {
    let found = std::cell::Cell::new(0);
    survives("callers", 12, |input| found.set(found.get() + host_input::callers(input)));
    assert_eq!(found.get(), 24, "that many are found");
}

#[test]
fn the_corpus_of_unit_files_is_survived() {
    survives("unit_file", 8, host_input::unit_file);
}
