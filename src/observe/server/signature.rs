//! A server that is known without a pid file: by its unit or its signature, and by its owner.

use super::{Instruments, ServerObserver, Target};
use crate::observe::discovery::{self, Found, is_trusted};

impl ServerObserver {
    /// A server that was seen before, or that discovery found, is known without a pid file, and so
    /// is one whose unit is named. Of two parents the older one is about to end, and its listeners
    /// are the younger one's; but nobody's is preferred to one that may be the server's.
    pub(super) fn by_signature(
        &self,
        found: &[Found],
        instruments: &Instruments<'_>,
    ) -> Option<Found> {
        let Target { unit, signature, .. } = &self.target;
        let is_it = |parent: &&Found| match (unit, signature) {
            (Some(unit), _) => {
                discovery::unit_of(instruments.table, parent.id).as_ref() == Some(unit)
            }
            (None, Some(signature)) => parent.signature == *signature,
            (None, None) => false,
        };
        let same = found.iter().filter(is_it);
        let free = same.filter(|parent| !instruments.moments.holds(&parent.id));
        preferred(&self.target, free).cloned()
    }
}

fn preferred<'a>(target: &Target, free: impl Iterator<Item = &'a Found>) -> Option<&'a Found> {
    free.max_by_key(|it| (accepts(target, it.signature.owner), it.id.started, it.id.pid))
}

/// Whether a parent of this user's may be the server's. Who names a pid file says whom he means;
/// else anybody may start what looks like the server.
pub(super) fn accepts(target: &Target, owner: u32) -> bool {
    let is_known = target.signature.as_ref().is_some_and(|known| known.owner == owner);
    target.pid_file.is_some() || is_known || is_trusted(owner)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{
        decode::command_line::command_line,
        model::{
            process::{Pid, ProcessId},
            time::Uptime,
        },
        observe::discovery::Signature,
    };

    const ANYBODY: u32 = 64_999;

    fn parent(owner: u32, number: i32) -> Found {
        let started = Uptime::from_micros(number.unsigned_abs().into());
        Found {
            id: ProcessId { pid: Pid::new(number).unwrap(), started },
            signature: Signature { program: "apache2".into(), configuration: None, owner },
            line: command_line(b"apache2\0"),
        }
    }

    #[test]
    fn only_an_owner_who_is_trusted_or_known_is_accepted_by_unit() {
        let unit = Target { unit: Some("apache2".to_owned()), ..Target::default() };
        assert!(accepts(&unit, 0));
        assert!(accepts(&unit, rustix::process::geteuid().as_raw()));
        assert!(!accepts(&unit, ANYBODY));
        let known = Target { signature: Some(parent(ANYBODY, 7).signature), ..unit };
        assert!(accepts(&known, ANYBODY));
        assert!(!accepts(&known, ANYBODY - 1));
        let named = Target { pid_file: Some(PathBuf::from("/run/x.pid")), ..Target::default() };
        assert!(accepts(&named, ANYBODY), "an operator named his pid file");
    }

    #[test]
    fn the_younger_parent_is_preferred_unless_it_is_anybodys() {
        let unit = Target { unit: Some("apache2".to_owned()), ..Target::default() };
        let all = [parent(0, 5), parent(0, 6), parent(ANYBODY, 7)];
        assert_eq!(preferred(&unit, all.iter()), Some(&all[1]));
        assert_eq!(preferred(&unit, [].iter()), None);
    }
}
