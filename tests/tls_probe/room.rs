//! While every worker is held nobody is asked, whoever says otherwise.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
};

use gracekeeper::{model::tls::KeyAlgorithm, observe::served::Workers};

use super::site::{Looks, Plan, connections};
use crate::harness::{Mpm, Outcome};

/// As long as a look that is not answered may be in doubt.
const LOOKS: usize = 10;

pub(super) fn nobody_is_asked_while_every_worker_is_held(mpm: Mpm) {
    let mut plan = Plan::new();
    let file = plan.certificate("one", KeyAlgorithm::Ecdsa);
    let place = plan.listen();
    plan.host(place, "a.example", &[&file], "");
    let (httpd, mut site, _kept) =
        plan.start(mpm, |builder| builder.server_limit(3).threads_per_child(2));
    site.listens.push(httpd.address());
    let held = httpd.hold_all_workers();
    let mut looks = Looks::at(&httpd);

    // Whoever cannot read the scoreboard goes by the connections.
    let children = u64::try_from(httpd.oracle().living_pids().len()).unwrap();
    looks.workers = Workers::Unknown { children };
    for _ in 0..LOOKS {
        assert_eq!(looks.served(&site).len(), 0);
        looks.wait();
    }
    assert_eq!(connections(&httpd), 0);

    // A scoreboard that has just become wrong, and somebody who waits already.
    let mut waits = TcpStream::connect(place).unwrap();
    // Only with its first bytes does the kernel hand it to the listener.
    waits.write_all(b"\x16").unwrap();
    looks.workers = Workers::Ready(9);
    for _ in 0..LOOKS {
        assert_eq!(looks.served(&site).len(), 0);
        looks.wait();
    }
    assert_eq!(connections(&httpd), 0);
    looks.workers = Workers::Ready(0);
    for _ in 0..LOOKS {
        assert_eq!(looks.served(&site).len(), 0);
    }

    waits.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(held.release().iter().all(|outcome| *outcome == Outcome::Answered(200)));
    let _: io::Result<usize> = waits.read_to_end(&mut Vec::new());
    looks.workers = Workers::Unknown { children };
    looks.until_served(&site, &site.on_disk());
    assert_eq!(connections(&httpd), 2, "that of the client who waited, and one");
}
