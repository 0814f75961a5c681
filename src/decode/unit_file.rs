//! Unit files of systemd, and what else it writes in the same way: `logind.conf`.

/// One assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The line on which it begins, from 1.
    pub line: u32,
    /// The section, without its brackets.
    pub section: String,
    /// The name.
    pub key: String,
    /// What is assigned, with lines joined; empty resets what is a list.
    pub value: Vec<u8>,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The number of the text, from 0.
    pub text: usize,
    /// The line in it, from 1.
    pub line: u32,
    /// The value.
    pub value: Vec<u8>,
}

/// Every assignment of a text, in its order. What is none is left out.
pub fn assignments(text: &[u8]) -> impl Iterator<Item = Assignment> {
    let mut section = String::new();
    joined(text).into_iter().filter_map(move |(line, text)| {
        if let Some(named) = text.strip_prefix(b"[") {
            let name = named.strip_suffix(b"]").unwrap_or(named);
            section = String::from_utf8_lossy(name).into_owned();
            return None;
        }
        let at = text.iter().position(|byte| *byte == b'=')?;
        let (key, value) = text.split_at_checked(at)?;
        let key = String::from_utf8_lossy(key.trim_ascii()).into_owned();
        let value = value.get(1..).unwrap_or_default().trim_ascii().to_vec();
        Some(Assignment { line, section: section.clone(), key, value })
    })
}

/// What a list has in the end, read from a unit and then its drop-ins: an empty value resets it.
#[must_use]
pub fn list(texts: &[&[u8]], section: &str, key: &str) -> Vec<Setting> {
    let mut list = Vec::new();
    for (text, content) in texts.iter().enumerate() {
        for found in assignments(content).filter(|it| it.section == section && it.key == key) {
            if found.value.is_empty() {
                list.clear();
            } else {
                list.push(Setting { text, line: found.line, value: found.value });
            }
        }
    }
    list
}

/// The last value of what has one; `None` where it is nowhere set, or reset.
#[must_use]
pub fn last(texts: &[&[u8]], section: &str, key: &str) -> Option<Setting> {
    list(texts, section, key).pop()
}

/// The lines without comments and blanks around them, those that a backslash joins as one. A comment
/// between joined lines is none of them.
fn joined(text: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut lines = Vec::new();
    let mut open: Option<(u32, Vec<u8>)> = None;
    for (number, line) in (1_u32..).zip(text.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if matches!(line.first(), Some(b'#' | b';')) {
            continue;
        }
        let goes_on = line.strip_suffix(b"\\");
        let (first, mut whole) = open.take().unwrap_or((number, Vec::new()));
        if !whole.is_empty() {
            whole.push(b' ');
        }
        whole.extend_from_slice(goes_on.unwrap_or(line).trim_ascii());
        if goes_on.is_some() {
            open = Some((first, whole));
        } else if !whole.is_empty() {
            lines.push((first, whole));
        }
    }
    lines.extend(open);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &[u8] =
        b"[Unit]\nDescription=x\n[Service]\n# no\n; no\nExecReload=/a \\\n# between\n  b\n\
        ExecReload = /c\nExecStart=/d\nbroken\n[Install]\nExecReload=/e\n";

    fn values(texts: &[&[u8]]) -> Vec<(usize, u32, String)> {
        let list = list(texts, "Service", "ExecReload");
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        list.iter().map(|it| (it.text, it.line, text(&it.value))).collect()
    }

    #[test]
    fn a_list_grows_with_each_text_until_it_is_reset() {
        assert_eq!(values(&[UNIT]), [(0, 6, "/a b".to_owned()), (0, 9, "/c".to_owned())]);
        let more = b"[Service]\nExecReload=/f\n";
        assert_eq!(values(&[UNIT, more]).len(), 3);
        let reset = b"[Service]\nExecReload=\nExecReload=/bin/kill -HUP $MAINPID\n";
        assert_eq!(values(&[UNIT, reset]), [(1, 3, "/bin/kill -HUP $MAINPID".to_owned())]);
        assert_eq!(values(&[UNIT, b"[Service]\nExecReload=\n"]), []);
    }

    #[test]
    fn the_last_value_counts() {
        let text = b"[Login]\n#RemoveIPC=yes\nRemoveIPC=yes\nRemoveIPC=no";
        assert_eq!(last(&[text], "Login", "RemoveIPC").map(|it| it.value), Some(b"no".to_vec()));
        assert_eq!(last(&[text], "Login", "KillMode"), None);
    }

    #[test]
    fn a_text_may_end_anywhere() {
        assert_eq!(assignments(b"[Service\nExecReload=/a \\").count(), 1);
        assert_eq!(assignments(b"=\n\\\n\\\n[").count(), 1);
        assert_eq!(assignments(b"").count(), 0);
    }
}
