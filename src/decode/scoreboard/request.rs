//! What of a request line may be shown: never a query, a parameter of the path such as a session's,
//! a host, a client or a password.

use std::fmt::Write as _;

use crate::model::scoreboard::ShowRequests;

/// Every registered method is shorter.
const LONGEST_METHOD: usize = 20;
/// `worker_score.request` less its NUL: a line of this length was cut off.
const WHOLE_FIELD: usize = 63;

/// What is shown of `worker_score.request`; `None` if nothing is wanted or it is no request line.
///
/// With `SeeRequestTail On` the field has the end of a line, which may begin within a query: only
/// what begins with a method and then a path is a beginning.
pub(super) fn shown(line: &[u8], show: ShowRequests) -> Option<String> {
    let mut words = line.splitn(2, |byte| *byte == b' ');
    let (method, target) = (words.next()?, words.next()?);
    let is_method = (1..=LONGEST_METHOD).contains(&method.len())
        && method.iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_'));
    let method = str::from_utf8(method).ok().filter(|_| is_method)?;
    let target = Target::of(target, method, line.len() >= WHOLE_FIELD)?;
    let mut text = method.to_owned();
    if let (ShowRequests::Path, Some(path)) = (show, target.path) {
        text.push(' ');
        escape(path, &mut text);
        text.push_str(if target.is_cut { "..." } else { "" });
    }
    (show != ShowRequests::Off).then_some(text)
}

/// What is asked for, of which only a path is told.
struct Target<'a> {
    path: Option<&'a [u8]>,
    /// httpd's field ends within the path.
    is_cut: bool,
}

impl<'a> Target<'a> {
    fn of(rest: &'a [u8], method: &str, is_whole_field: bool) -> Option<Self> {
        let end = rest.iter().rposition(|byte| *byte == b' ');
        let protocol = end.and_then(|end| rest.get(end..)).unwrap_or_default();
        let ends = protocol.starts_with(b" HTTP/");
        let target = end.filter(|_| ends).and_then(|end| rest.get(..end)).unwrap_or(rest);
        let hidden = Self { path: None, is_cut: false };
        let from = match target {
            [b'/', ..] => target,
            b"*" => return Some(Self { path: Some(target), is_cut: false }),
            // A tunnel's target is a host.
            _ if method == "CONNECT" => return Some(hidden),
            _ => match path_of_url(target)? {
                b"" => return Some(hidden),
                path => path,
            },
        };
        let path = from.split(|byte| matches!(byte, b'?' | b'#' | b';')).next().unwrap_or_default();
        let is_cut = is_whole_field && !ends && path.len() == from.len();
        Some(Self { path: Some(path), is_cut })
    }
}

/// The path of an absolute URL, without its user and host; empty if those are all there is.
fn path_of_url(target: &[u8]) -> Option<&[u8]> {
    let after = ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    })?;
    let end = after.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let path = end.and_then(|end| after.get(end..)).filter(|path| path.starts_with(b"/"));
    Some(path.unwrap_or_default())
}

/// A client chose these bytes: what is not printable ASCII is told by its number.
fn escape(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        if byte.is_ascii_graphic() && *byte != b'\\' {
            text.push(char::from(*byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(line: &str) -> Option<String> {
        shown(line.as_bytes(), ShowRequests::Path)
    }

    #[test]
    fn a_path_is_shown_without_what_is_secret() {
        let long = format!("GET /{}", "x".repeat(58));
        for (line, told) in [
            ("GET /cgi/slow HTTP/1.1", "GET /cgi/slow"),
            ("GET /a?token=SECRET HTTP/1.1", "GET /a"),
            ("GET /a?token=SECRET", "GET /a"),
            ("GET /?token=a /b HTTP/1.1", "GET /"),
            ("GET /a#SECRET HTTP/1.1", "GET /a"),
            ("GET /a;jsessionid=SECRET HTTP/1.1", "GET /a"),
            ("PROPFIND /dav/ HTTP/2.0", "PROPFIND /dav/"),
            ("GET http://user:SECRET@vhost/a?b HTTP/1.1", "GET /a"),
            ("GET HTTPS://vhost?SECRET=/ HTTP/1.1", "GET"),
            ("GET http://vhos", "GET"),
            ("CONNECT vhost:443 HTTP/1.1", "CONNECT"),
            ("OPTIONS * HTTP/1.1", "OPTIONS *"),
            ("GET /\u{1b}[31m\u{e9} \\ HTTP/1.0", r"GET /\x1b[31m\xc3\xa9\x20\x5c"),
            (&long, &format!("{long}...")),
            (&format!("{}?", &long[..62]), &long[..62]),
        ] {
            assert_eq!(path(line).as_deref(), Some(told), "{line}");
        }
        assert_eq!(shown(b"PUT /a HTTP/1.1", ShowRequests::Method).as_deref(), Some("PUT"));
        assert_eq!(shown(b"PUT /a HTTP/1.1", ShowRequests::Off), None);
    }

    #[test]
    fn what_is_no_request_line_is_not_shown() {
        // The end of a line, with `SeeRequestTail`; a text of another module's.
        for line in
            ["SECRET HTTP/1.1", "token=/SECRET HTTP/1.1", "TOKEN=SECRET", "reading", "", " /a"]
        {
            assert_eq!(path(line), None, "{line}");
        }
        assert_eq!(path("get /a HTTP/1.1"), None);
        assert_eq!(path(&format!("{} /a HTTP/1.1", "A".repeat(21))), None);
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_told_in_few_printable_letters(line in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut asked = b"GET /".to_vec();
            asked.extend(&line);
            for line in [line, asked] {
                let text = shown(&line, ShowRequests::Path).unwrap_or_default();
                prop_assert!(text.len() <= 300 && !text.contains('?'), "{}", text);
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
            }
        }
    }
}
