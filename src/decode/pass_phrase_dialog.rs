//! Whether a configuration has a pass phrase dialog that is asked through a pipe.

const DIRECTIVE: &[u8] = b"sslpassphrasedialog";

/// Whether this file of a configuration may say `SSLPassPhraseDialog |/program`: it does, or what
/// it says there is neither `builtin` nor `exec:`, as a variable is.
#[must_use]
pub fn may_ask_through_pipe(configuration: &[u8]) -> bool {
    let lines = configuration.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_start);
    lines.filter(|line| line.first() != Some(&b'#')).any(|line| {
        let line = line.to_ascii_lowercase();
        let place = line.windows(DIRECTIVE.len()).position(|window| window == DIRECTIVE);
        let rest = place.and_then(|place| line.get(place + DIRECTIVE.len()..));
        rest.is_some_and(|rest| !is_ruled_out(rest))
    })
}

fn is_ruled_out(rest: &[u8]) -> bool {
    let start = rest.iter().position(|byte| !byte.is_ascii_whitespace() && !b"\"'".contains(byte));
    let value = start.and_then(|start| rest.get(start..)).unwrap_or_default();
    value.starts_with(b"builtin") || value.starts_with(b"exec:")
}

#[cfg(test)]
mod tests {
    use super::may_ask_through_pipe;

    #[test]
    fn a_dialog_behind_a_pipe_is_found_however_it_is_written() {
        for line in [
            "SSLPassPhraseDialog |/opt/ask",
            "  sslpassphrasedialog \"|/opt/ask x\"",
            "SSLPassPhraseDialog ${DIALOG}",
            "SSLPassPhraseDialog \\\n|/opt/ask",
            "Listen 1\nSSLPassPhraseDialog builtin\nSSLPassPhraseDialog |/opt/ask\n",
        ] {
            assert!(may_ask_through_pipe(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn other_dialogs_and_loggers_are_none() {
        for line in [
            "",
            "CustomLog \"|/opt/archive\" common",
            "# SSLPassPhraseDialog |/opt/ask",
            "SSLPassPhraseDialog builtin",
            "SSLPassPhraseDialog 'exec:/opt/ask'",
            "SSLRandomSeed startup exec:/opt/seed 512",
        ] {
            assert!(!may_ask_through_pipe(line.as_bytes()), "{line}");
        }
    }
}
