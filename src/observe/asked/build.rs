//! What a parent is made of: `-V`, as far as what is on disk is what it runs.

use std::path::{Path, PathBuf};

use super::{Answer, Question, changes};
use crate::{
    decode::build_settings::{BuildSettings, build_settings},
    file_stamp::FileStamp,
    model::{
        build::HttpdBuild,
        time::{Moment, Timestamp},
    },
    observe::pid_file,
};

/// Reads what `program` printed. A program that was replaced since the parent started tells of
/// another httpd, and a configuration that was changed since it last read it of another MPM.
pub(super) fn told(
    question: &Question,
    answer: &Answer,
    program: &Path,
    printed: &[u8],
) -> HttpdBuild {
    let started = answer.at.at_uptime(question.parent.started);
    if !is_older(program, started) {
        return HttpdBuild::default();
    }
    let BuildSettings { version, mpm, apr, apr_util } = build_settings(printed);
    let loaded = last_loaded(question, answer.pid_file.as_ref()).unwrap_or(started.wall);
    let is_loaded = !answer.includes_are_cut && changes::are_older(&answer.includes, loaded);
    HttpdBuild { version, mpm: mpm.filter(|_| is_loaded), apr, apr_util, openssl: None }
}

/// httpd writes its pid file once it has read its configuration.
fn last_loaded(question: &Question, path: Option<&PathBuf>) -> Option<Timestamp> {
    let file = pid_file::read(path?).ok()?;
    (file.pid == question.parent.pid).then_some(file.stamp.written)
}

fn is_older(file: &Path, than: Moment) -> bool {
    FileStamp::of(file).is_some_and(|stamp| stamp.changed_at() <= than.wall.as_micros())
}
