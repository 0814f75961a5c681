//! What an operator can do about a source that gives nothing.

use crate::model::source::{Source, Why};

/// What makes a silent source speak, if that is known.
pub(super) const fn mend(source: Source, why: Why) -> Option<&'static str> {
    match source {
        Source::Scoreboard => mend_scoreboard(why),
        Source::ProcessTable => match why {
            Why::Permission => Some(
                "mount /proc without hidepid (mount -o remount,hidepid=0 /proc), or join its gid= group",
            ),
            Why::Limit => DESCRIPTORS,
            Why::Missing | Why::Timeout | Why::Invalid | Why::Other => None,
        },
        Source::ErrorLog => mend_log(why),
        Source::ServerStatus => mend_status(why),
        Source::MemoryMaps => match why {
            Why::Permission => Some(
                "memory by role, forecast and measured peak stay unknown: run as root, as httpd's \
                 own user, or with AmbientCapabilities=CAP_SYS_PTRACE in its unit",
            ),
            Why::Other => READER,
            Why::Missing | Why::Timeout | Why::Invalid | Why::Limit => None,
        },
        Source::FdLinks => match why {
            Why::Permission => Some(
                "listening sockets are found by the configuration's Listen lines: run as root, as \
                 httpd's own user, or with AmbientCapabilities=CAP_SYS_PTRACE CAP_DAC_READ_SEARCH in its \
                 unit",
            ),
            Why::Other => READER,
            Why::Missing | Why::Timeout | Why::Invalid | Why::Limit => None,
        },
        Source::Sockets => mend_sockets(why),
        Source::Files => mend_files(why),
        Source::TlsProbe => mend_handshake(why),
        Source::Cgroup => match why {
            Why::Missing => Some(
                "httpd's cgroups are not below what is mounted at /sys/fs/cgroup, so that whether \
                 memory and process numbers would suffice stays unknown: run on the host, in \
                 httpd's own container, or with the host's cgroup namespace and /sys",
            ),
            Why::Limit => DESCRIPTORS,
            Why::Permission | Why::Timeout | Why::Invalid | Why::Other => None,
        },
    }
}

const fn mend_files(why: Why) -> Option<&'static str> {
    match why {
        Why::Permission => Some(
            "what changed in a file that may not be read is told by its times: run as root, or let \
             the user read httpd's configuration, certificates and keys: setfacl -m u:USER:r FILE",
        ),
        Why::Limit => Some(
            "a file of the configuration or a certificate is larger than 16 MiB, or there are \
             more files than gracekeeper reads; the log names the first",
        ),
        Why::Invalid => Some(
            "something that the configuration names is no regular file, or leads in a circle; \
             the log names the first",
        ),
        Why::Timeout => Some("a file system that holds httpd's files does not answer"),
        Why::Missing | Why::Other => None,
    }
}

const fn mend_handshake(why: Why) -> Option<&'static str> {
    match why {
        Why::Missing => Some("nobody listens where a TLS host of the configuration should be"),
        Why::Timeout => Some("the listener accepts and says nothing: does it expect PROXY?"),
        Why::Invalid => Some("what listens there speaks no TLS 1.2 or 1.3 that is understood"),
        Why::Permission | Why::Limit | Why::Other => None,
    }
}

const DESCRIPTORS: Option<&str> =
    Some("raise the limit of open files: LimitNOFILE=65536 in its unit");
const READER: Option<&str> =
    Some("if the reading process has ended, restart gracekeeper: only then is it started");

const fn mend_scoreboard(why: Why) -> Option<&'static str> {
    match why {
        Why::Permission => Some(
            "generation numbers and workers stay unknown, types and drains are told where the \
             process table proves them: run as root, as httpd's own user, or with \
             AmbientCapabilities=CAP_SYS_PTRACE in its unit; where Yama refuses httpd's own user, \
             ScoreBoardFile /dev/shm/httpd-scoreboard in httpd's configuration",
        ),
        Why::Other => READER,
        Why::Limit => Some("the parent has mapped more than any httpd does"),
        Why::Missing | Why::Timeout | Why::Invalid => None,
    }
}

const fn mend_log(why: Why) -> Option<&'static str> {
    match why {
        Why::Permission => Some(
            "add the user to the group that may read the log, on Debian: usermod -aG adm gracekeeper; where gracekeeper does \
             not know the file either, let it ask httpd (ask_httpd), or name it as error_log of a \
             [[server]]",
        ),
        Why::Invalid => Some(
            "httpd writes to a program, to syslog or to a terminal: name a file as error_log of a \
             [[server]], or set it to \"none\"; one [[server]] turns discovery off",
        ),
        Why::Missing => Some("name the file as error_log of a [[server]]"),
        Why::Other => READER,
        Why::Limit => DESCRIPTORS,
        Why::Timeout => None,
    }
}

const fn mend_status(why: Why) -> Option<&'static str> {
    match why {
        Why::Missing => Some("status_url leads where nobody listens"),
        Why::Timeout => Some("every worker is busy, or status_url leads elsewhere"),
        Why::Invalid => Some("status_url must lead to mod_status, with ?auto, without a redirect"),
        Why::Limit => DESCRIPTORS,
        Why::Permission | Why::Other => None,
    }
}

const fn mend_sockets(why: Why) -> Option<&'static str> {
    match why {
        Why::Limit => Some("more sockets listen on this host than gracekeeper reads"),
        Why::Permission => Some(
            "let gracekeeper ask httpd where it listens (ask_httpd), with a configuration that it \
             may read; or see fd_links",
        ),
        Why::Missing => Some(
            "httpd listens in another network namespace, or not where its configuration says; or \
             the kernel or the service's sandbox (RestrictAddressFamilies=) has no AF_NETLINK",
        ),
        Why::Timeout | Why::Invalid | Why::Other => None,
    }
}

/// Likewise of an error log that an operator named himself.
pub(super) const fn mend_named_log(why: Why) -> Option<&'static str> {
    match why {
        Why::Missing => Some("nothing is where error_log of this [[server]] leads: mend its path"),
        Why::Invalid => Some("error_log of this [[server]] leads to what is no regular file"),
        Why::Permission => Some(
            "add the user to the group that may read the file that error_log of this [[server]] \
             names, on Debian: usermod -aG adm gracekeeper",
        ),
        Why::Limit => DESCRIPTORS,
        Why::Timeout | Why::Other => None,
    }
}
