//! Which certificates real httpds serve, seen by handshakes; and that none is made while nobody is
//! there to answer it.

mod handshakes;
mod room;
mod site;

use crate::harness::under_every_mpm;

under_every_mpm! {
    what_is_served_is_known_and_known_anew_after_a_restart
    nobody_is_asked_while_every_worker_is_held
}

use handshakes::what_is_served_is_known_and_known_anew_after_a_restart;
use room::nobody_is_asked_while_every_worker_is_held;
