//! gracekeeper knows what every restart of an Apache httpd was and did.
//!
//! Sources are read and decoded into one [`model::snapshot::ServerSnapshot`] a look. Pure trackers
//! fold snapshots into what is believed now and into [`model::event::Event`]s. Everything a person
//! sees is rendered from the latest of these. In reading order:
//!
//! - [`model`]: values; nothing in it can fail or wait
//! - [`decode`]: bytes to values, total functions
//! - [`observe`]: one file per outside thing; reads, stamps, hands over
//! - [`track`]: pure state machines
//! - [`expose`]: what Prometheus and people see
//! - [`state`]: what one run leaves to the next
//! - [`history`]: what became of a server, told from its error logs, or as the journal has it
//! - [`watch`]: the shell around them: triggers looks, owns the trackers, publishes
//! - [`program`], [`demo`]: starts programs; a private httpd to look at, and what happens to it
//! - [`doctor`]: what is closed to gracekeeper, unsound around httpd, or restarts it hard
//! - [`trusted_path`], [`file_stamp`]: what may be run or read on its owner's behalf; whether a
//!   file is still the one that was looked at
//! - [`command`], [`cli`], [`config`]: what an operator types
//! - [`log_format`], [`exit`], [`version`]: what an operator gets to see of the program itself
//!
//! # Invariants
//!
//! 1. `model`, `decode`, `track`, `history::{story, note}` and
//!    `expose::{api, catalogue, drift, headroom, journal, last_restart, metrics, publication, stragglers}`
//!    know no file, socket, clock, log or thread. Of `decode`, `track` knows [`decode::error_log::failure`] only, so that one rule says
//!    what httpd's words mean, to it and to `history`.
//! 2. Only [`clock`] reads time. Intervals come from the time since boot.
//! 3. Nothing here signals httpd or writes where httpd reads. It takes a worker from it in two
//!    cases: for the milliseconds of a handshake, once per certificate file and change and never
//!    while none is ready (`observe::served`), and where an operator has `mod_status` asked, for as
//!    long as that answers. The one exception is `demo`: it does all of that to the httpd that it
//!    started itself, through the handle of its own child, and to no other.
//! 4. A source that fails is `Unseen`, never a default value. Nothing that it delivers can stop
//!    the program.
//! 5. A process is its pid and its start time, held by a pidfd; never a pid alone.
//! 6. Every metric is declared once, in `expose::catalogue`. Series are rendered from the latest
//!    assessment, so none outlives its subject.
//! 7. A scrape hands out what the last look rendered: it touches neither httpd nor `/proc`.
//! 8. Looks are triggered by what the kernel reports, and happen at least once an interval;
//!    nothing polls faster than its interval, except that who reads its configuration is looked at
//!    every 300 ms for its first ten seconds, because nothing reports the start of a dialog. A look
//!    is no single instant: what is dear to read has a pace of its own in `observe::resources`, and
//!    is as old in the snapshot as when it was read last. Files are looked at by a thread of their own
//!    (`observe::files`), when something happened to them and every 10 s, programs every second. What grows with the number or the size of
//!    processes is read within a budget, kept in `observe::reader` where it is spent; what took long
//!    rests in proportion.
//! 9. The process that listens on the network holds no capability. What needs one is read by a
//!    second process of the same program, which has no network and takes no paths.
//!
//! Absent on purpose: locks (one thread owns the trackers), a plug-in interface, an own agent
//! protocol, metrics that are updated where things happen.

pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod decode;
pub mod demo;
pub mod doctor;
pub mod exit;
pub mod expose;
pub mod file_stamp;
pub mod history;
pub mod log_format;
pub mod model;
pub mod observe;
pub mod program;
pub mod state;
pub mod track;
pub mod trusted_path;
pub mod version;
pub mod watch;
