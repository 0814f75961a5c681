//! `/proc/net/netstat`: a line of names, then a line of numbers, of each protocol.

use crate::model::resources::NetnsDrops;

/// What was dropped at listeners since the network namespace was made; `None` if it is not told.
#[must_use]
pub fn listen_drops(text: &[u8]) -> Option<NetnsDrops> {
    let text = std::str::from_utf8(text).ok()?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let value = |wanted: &str| {
        let place = names.split_ascii_whitespace().position(|name| name == wanted)?;
        numbers.split_ascii_whitespace().nth(place)?.parse().ok()
    };
    Some(NetnsDrops { overflows: value("ListenOverflows")?, drops: value("ListenDrops")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_found_by_their_names() {
        let text = b"TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPPrequeued\n\
            TcpExt: 1 22 333 4\nIpExt: InNoRoutes ListenDrops\nIpExt: 0 5\n";
        let read = NetnsDrops { overflows: 22, drops: 333 };
        assert_eq!(listen_drops(text), Some(read));
    }

    #[test]
    fn what_is_not_told_is_none() {
        for text in [
            &b""[..],
            b"TcpExt: ListenOverflows ListenDrops\n",
            b"TcpExt: ListenOverflows ListenDrops\nTcpExt: 1\n",
            b"TcpExt: ListenOverflows ListenDrops\nTcpExt: 1 -1\n",
            b"TcpExt: ListenOverflows\nTcpExt: 1\n",
            b"\xff",
        ] {
            assert_eq!(listen_drops(text), None);
        }
    }
}
