//! Error logs to measure with: ordinary ones and hostile ones, the same in every run.

use std::{collections::BTreeMap, io::Write};

use gracekeeper::{
    decode::error_log::Counts,
    model::log::{LogCode, LogLevel},
};

const BLOCK_BYTES: usize = 32 << 20;
const HOSTILE_BYTES: usize = 64 << 20;

/// Whole lines, and what counts of them are right.
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    /// Those in httpd's default format.
    pub(crate) default_lines: u64,
    levels: BTreeMap<LogLevel, u64>,
    codes: BTreeMap<LogCode, u64>,
}

/// Xorshift: no chance, and no pattern that a branch predictor learns.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

impl Block {
    /// Of a hundred lines ninety-six in the default format, most of them of no interest; the others
    /// raw or JSON.
    pub(crate) fn mixed() -> Self {
        let mut block = Self {
            bytes: Vec::with_capacity(BLOCK_BYTES + 1024),
            default_lines: 0,
            levels: BTreeMap::new(),
            codes: BTreeMap::new(),
        };
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        while block.bytes.len() < BLOCK_BYTES {
            let (level, code) = match numbers.below(100) {
                0..=1 => block.raw(&mut numbers),
                2..=3 => block.json(&mut numbers),
                kind => {
                    block.default_lines += 1;
                    block.default_format(kind, &mut numbers)
                }
            };
            block.bytes.push(b'\n');
            *block.levels.entry(level).or_default() += 1;
            if let Some(code) = code {
                *block.codes.entry(code).or_default() += 1;
            }
        }
        block
    }

    pub(crate) fn assert_counted(&self, counts: &Counts, repeats: u64) {
        let levels = self.levels.iter().map(|(level, count)| (*level, count * repeats));
        assert!(counts.lines().eq(levels), "{counts:?}");
        let codes = self.codes.iter().map(|(code, count)| (*code, count * repeats));
        assert!(counts.events().eq(codes), "{counts:?}");
    }

    fn default_format(&mut self, kind: u64, numbers: &mut Numbers) -> (LogLevel, Option<LogCode>) {
        let (module, level, message, code) = Self::message(kind, numbers);
        let word = if level == LogLevel::Trace { "trace3" } else { level.label() };
        write!(
            self.bytes,
            "[Sun Nov 22 10:{:02}:{:02}.{:06} 2026] [{module}:{word}] [pid {}:tid {}] {message}",
            numbers.below(60),
            numbers.below(60),
            numbers.below(1_000_000),
            numbers.below(90_000) + 1000,
            numbers.below(1 << 47),
        )
        .unwrap();
        (level, code)
    }

    /// What comes after the process, with the module, the level and the code.
    fn message(
        kind: u64,
        numbers: &mut Numbers,
    ) -> (&'static str, LogLevel, String, Option<LogCode>) {
        let client = format!("[client 192.0.2.{}:{}]", numbers.below(255), numbers.below(65_536));
        let path = format!("/srv/www/{:x}/{:x}", numbers.below(1 << 60), numbers.below(1 << 60));
        let number = numbers.below(999);
        let other = Some(LogCode::Other);
        match kind {
            4..=34 => {
                let text = "AH01630: client denied by server configuration";
                let text = format!("{client} {text}: {path}, referer: https://example.org{path}");
                ("authz_core", LogLevel::Error, text, other)
            }
            35..=59 => {
                let text = "AH01114: HTTP: failed to make connection to backend: 127.0.0.1";
                let text = format!("(111)Connection refused: {client} {text}, referer: {path}");
                ("proxy_http", LogLevel::Error, text, other)
            }
            60..=79 => {
                let text = "PHP Notice:  Undefined index: name in";
                let text = format!("{client} {text} {path}.php on line {number}");
                ("php", LogLevel::Notice, text, None)
            }
            80..=89 => {
                let text = "established (server www.example.org:443)";
                let text = format!("{client} AH01964: Connection to child {number} {text}");
                ("ssl", LogLevel::Info, text, other)
            }
            90..=97 => {
                let text = format!("AH01078: serving URL fcgi://localhost{path}");
                let text = format!("mod_proxy_fcgi.c({number}): {client} {text}");
                ("proxy_fcgi", LogLevel::Debug, text, other)
            }
            98 => {
                let text = "192.0.2.1 - - [www.example.org/sid#55d0][rid#7f/initial] pass through";
                let text = format!("mod_rewrite.c({number}): {client} {text} {path}");
                ("rewrite", LogLevel::Trace, text, None)
            }
            _ => {
                let text =
                    "AH00489: Apache/2.4.71 (Debian) configured -- resuming normal operations";
                ("mpm_event", LogLevel::Notice, text.to_owned(), Some(LogCode::Ah00489))
            }
        }
    }

    fn raw(&mut self, numbers: &mut Numbers) -> (LogLevel, Option<LogCode>) {
        write!(self.bytes, "#{} /srv/www/application/src/Controller.php({}): Kernel->handle(Object(Request), 1, true) #1 {{main}} thrown in", numbers.below(40), numbers.below(999)).unwrap();
        (LogLevel::None, None)
    }

    fn json(&mut self, numbers: &mut Numbers) -> (LogLevel, Option<LogCode>) {
        write!(self.bytes, r#"{{"time":"2026-11-22 10:00:{:02}","module":"proxy","level":"warn","pid":"{}","client":"192.0.2.1","msg":"AH01144: No protocol handler was valid for the URL \"{:x}\""}}"#, numbers.below(60), numbers.below(90_000) + 1, numbers.below(1 << 60)).unwrap();
        (LogLevel::Warn, Some(LogCode::Other))
    }
}

/// What whoever can write into a log may fill it with.
pub(crate) fn hostile_blocks() -> Vec<(&'static str, Vec<u8>)> {
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let rubbish: Vec<u8> =
        (0..HOSTILE_BYTES / 8).flat_map(|_| numbers.below(u64::MAX).to_le_bytes()).collect();
    let fill = |line: &str| line.repeat(HOSTILE_BYTES / line.len()).into_bytes();
    let json = r#"{"a":"x","b":17,"#.to_owned()
        + &r#""agent":"Mozilla/5.0 (X11; Linux x86_64)","#.repeat(4)
        + "\"level\":\"warn\",\"pid\":\"4711\",\"msg\":\"AH01144: No protocol handler\"}\n";
    vec![
        (
            "raw lines without any prefix",
            fill(
                "libgcc_s.so.1 must be installed for pthread_exit to work, and so on, and so on, and so on, and so on\n",
            ),
        ),
        ("JSON", fill(&json)),
        (
            "JSON of nothing but short members",
            fill(&("{".to_owned() + &"\"a\":1,".repeat(1300) + "\n")),
        ),
        (
            "JSON of nothing but escaped quotes",
            fill(&("{\"".to_owned() + &"\\\"".repeat(4000) + "\n")),
        ),
        ("binary rubbish", rubbish),
        ("empty lines", fill("\n")),
        ("no line feed", fill("x")),
        ("NUL bytes", fill("\0")),
        ("opening brackets", fill(&("[".repeat(8000) + "\n"))),
        ("groups", fill(&("[] ".repeat(2700) + "\n"))),
        ("system errors", fill(&("(1): ".repeat(1600) + "\n"))),
        ("key=value", fill(&("a=b ".repeat(2000) + "\n"))),
        ("numbers", fill(&("1 ".repeat(4000) + "\n"))),
        ("groups in short lines", fill(&("[] ".repeat(40) + "\n"))),
        ("codes", fill("AH00489: \n")),
    ]
}
