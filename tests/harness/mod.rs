//! Real private httpds, held requests, an oracle that saw what happened, and the program under test.
//!
//! - [`httpd`]: one private httpd in a directory of its own; nothing of it outlives its value
//! - [`configuration`]: what that httpd is told
//! - [`held`]: requests that are answered when the test says so
//! - [`oracle`]: what this httpd really did, from pidfds and httpd's own log, never from `src`
//! - [`gracekeeper`]: the real program, and [`metrics`] what it says
//! - [`keyring`]: a key with a pass phrase, and who is asked for it
//! - [`program`]: programs that a test writes and then executes
//! - [`prometheus`]: a real Prometheus, and which alerts fire there
//! - [`eventually`]: the only way to wait
//!
//! A failing test prints httpd's error log and gracekeeper's log: both values do so when they are
//! dropped by a panic, so plain assertions need not.

use std::io::{self, Write as _};

pub(crate) mod configuration;
pub(crate) mod error_log;
pub(crate) mod eventually;
pub(crate) mod gracekeeper;
pub(crate) mod held;
pub(crate) mod http;
pub(crate) mod httpd;
pub(crate) mod keyring;
pub(crate) mod metrics;
pub(crate) mod oracle;
pub(crate) mod parent;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod prometheus;
pub(crate) mod recorder;
pub(crate) mod status;

pub(crate) use configuration::Mpm;
pub(crate) use eventually::eventually;
pub(crate) use gracekeeper::Gracekeeper;
pub(crate) use held::Outcome;
pub(crate) use httpd::Httpd;
pub(crate) use oracle::RestartKind;
pub(crate) use process::Process;
pub(crate) use prometheus::Prometheus;
pub(crate) use recorder::Role;

/// Said past the test runner, not left out in silence: what this host or this user does not allow.
pub(crate) fn not_tested(why: &str) {
    let _: io::Result<()> = writeln!(io::stderr(), "not tested: {why}");
}

/// Makes three tests of each function that takes an [`Mpm`].
macro_rules! under_every_mpm {
    ($($name:ident)*) => {$(
        mod $name {
            use crate::harness::Mpm;

            #[test]
            fn event() {
                super::$name(Mpm::Event);
            }

            #[test]
            fn worker() {
                super::$name(Mpm::Worker);
            }

            #[test]
            fn prefork() {
                super::$name(Mpm::Prefork);
            }
        }
    )*};
}

pub(crate) use under_every_mpm;
