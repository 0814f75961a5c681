//! The witnesses: which there are, and why one may be silent.

use super::label::closed_set;

closed_set! {
    /// A witness, by the name that metrics and the journal give it.
    Source {
        /// `/proc`, pidfds, the pid file, the configuration's opening.
        ProcessTable = "process_table",
        /// The parent's shared memory.
        Scoreboard = "scoreboard",
        /// httpd's error log.
        ErrorLog = "error_log",
        /// `mod_status`, over HTTP.
        ServerStatus = "server_status",
        /// `smaps_rollup` of the server's processes.
        MemoryMaps = "memory_maps",
        /// The targets of the parent's file descriptors.
        FdLinks = "fd_links",
        /// Listening sockets, from the kernel's socket diagnosis.
        Sockets = "sockets",
        /// The files that the server is loaded from.
        Files = "files",
        /// The parent's cgroups.
        Cgroup = "cgroup",
        /// Handshakes with the server's own listeners.
        TlsProbe = "tls_probe",
    }
}

closed_set! {
    /// Why a wanted source gave nothing.
    Why {
        /// gracekeeper may not read it.
        Permission = "permission",
        /// It is not there.
        Missing = "missing",
        /// It did not answer in time.
        Timeout = "timeout",
        /// It is there and does not check.
        Invalid = "invalid",
        /// It is larger than gracekeeper reads.
        Limit = "limit",
        /// Anything else.
        Other = "other",
    }
}
