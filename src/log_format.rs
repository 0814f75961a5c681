//! The log: one event, one line, as the Prometheus exporters write it.
//!
//! `time=2026-11-22T10:32:13.000Z level=INFO msg="listening" address=127.0.0.1:43121`

use std::{error::Error, fmt, fmt::Write as _, io};

use clap::ValueEnum;
use serde_json::{Number, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer, Registry,
    fmt::MakeWriter,
    layer::{Context, SubscriberExt as _},
};

use crate::{clock, model::time::Timestamp};

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Words with `=` between name and value.
    #[default]
    Logfmt,
    /// An object a line.
    Json,
}

/// How important an event must be to be logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something will fail, or cannot be seen.
    Warn,
    /// What happened to httpd.
    #[default]
    Info,
    /// What gracekeeper does.
    Debug,
    /// Everything.
    Trace,
}

/// The log was already set up.
#[derive(Debug, thiserror::Error)]
#[error("set up the log: {0}")]
pub struct InitError(#[from] tracing::subscriber::SetGlobalDefaultError);

/// Logs to standard error from now on.
pub fn init(format: Format, level: Level) -> Result<(), InitError> {
    let lines = Lines { format, writer: io::stderr };
    let subscriber = Registry::default().with(LevelFilter::from(level)).with(lines);
    Ok(tracing::subscriber::set_global_default(subscriber)?)
}

impl Format {
    /// Its word on the command line.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Logfmt => "logfmt",
            Self::Json => "json",
        }
    }
}

impl Level {
    /// Its word on the command line.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// Writes each event as a line, in one call, so that lines of several threads do not mix.
struct Lines<W> {
    format: Format,
    writer: W,
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level();
        let time = time(clock::now().wall);
        let line = match self.format {
            Format::Logfmt => fields.logfmt(&time, level.as_str()),
            Format::Json => fields.json(&time, level.as_str()),
        };
        // Who cannot log cannot say so either, and must go on watching.
        let _ = io::Write::write_all(&mut self.writer.make_writer(), line.as_bytes());
    }
}

/// An event's message and fields, in the order given.
#[derive(Default)]
struct Fields {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(message)) => self.message = message,
            ("message", other) => self.message = other.to_string(),
            // `r#type = ..` is how Rust writes a field named type.
            (name, value) => self.fields.push((name.strip_prefix("r#").unwrap_or(name), value)),
        }
    }

    fn logfmt(&self, time: &str, level: &str) -> String {
        let mut line = format!("time={time} level={level} msg={}", quoted(&self.message));
        for (name, value) in &self.fields {
            let value = match value {
                Value::String(text) if needs_quotes(text) => quoted(text),
                Value::String(text) => text.clone(),
                Value::Number(number) => plain(number),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                    value.to_string()
                }
            };
            // Writing to a string cannot fail.
            let _ = write!(line, " {name}={value}");
        }
        line.push('\n');
        line
    }

    fn json(&self, time: &str, level: &str) -> String {
        let mut line = format!(
            "{{\"time\":\"{time}\",\"level\":\"{level}\",\"msg\":{}",
            escaped(&Value::from(self.message.as_str()).to_string())
        );
        for (name, value) in &self.fields {
            let value = escaped(&value.to_string());
            let _ = write!(line, ",{}:{value}", Value::from(*name));
        }
        line.push_str("}\n");
        line
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no number for NaN and the infinities.
        let text = || Value::from(value.to_string());
        self.push(field, Number::from_f64(value).map_or_else(text, Value::Number));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.push(field, text.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format!("{value:?}").into());
    }
}

/// A time as the Prometheus exporters write it, to the millisecond.
fn time(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or_default();
    format!("{at:.3}")
}

/// A fraction to the microsecond, which is how exactly gracekeeper measures; never with an
/// exponent, which few readers of logfmt take for a number.
fn plain(number: &Number) -> String {
    match number.as_f64() {
        Some(fraction) if number.is_f64() => format!("{fraction:.6}"),
        _ => number.to_string(),
    }
}

fn needs_quotes(text: &str) -> bool {
    text.is_empty()
        || text.chars().any(|letter| {
            letter.is_whitespace() || matches!(letter, '"' | '=' | '\\') || breaks_a_line(letter)
        })
}

/// What would end the line, or act on the terminal that shows it.
fn breaks_a_line(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Quotes as JSON does, which is what readers of logfmt expect.
fn quoted(text: &str) -> String {
    escaped(&Value::from(text).to_string())
}

/// Escapes what JSON would let through: DEL, the C1 control characters, Unicode's line ends and
/// turns of direction. What it means stays the same.
#[must_use]
pub fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if breaks_a_line(letter) {
            let _ = write!(text, "\\u{:04x}", u32::from(letter));
        } else {
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// The lines that `log` writes, their time left out.
    fn logged(format: Format, level: Level, log: impl FnOnce()) -> String {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let writer = Written(Arc::clone(&lines));
        let subscriber = Registry::default()
            .with(LevelFilter::from(level))
            .with(Lines { format, writer: move || writer.clone() });
        tracing::subscriber::with_default(subscriber, log);
        let text = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| line.split_at(line.find("level").unwrap()).1.to_owned() + "\n")
            .collect()
    }

    #[derive(Clone)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_message_is_always_quoted_and_a_value_only_if_it_must_be() {
        let line = logged(Format::Logfmt, Level::Info, || {
            tracing::info!(
                address = %"127.0.0.1:43121",
                count = 3,
                took = 0.25,
                ok = true,
                r#type = "graceful",
                empty = "",
                spaced = "a b",
                equals = "a=b",
                quote = "a\"b",
                path = "C:\\x",
                "listening"
            );
        });
        let expected = "level=INFO msg=\"listening\" address=127.0.0.1:43121 count=3 took=0.250000 \
                        ok=true type=graceful empty=\"\" spaced=\"a b\" equals=\"a=b\" \
                        quote=\"a\\\"b\" path=\"C:\\\\x\"\n";
        assert_eq!(line, expected);
    }

    #[test]
    fn one_event_is_one_line_whatever_is_in_it() {
        let hostile = "a\nlevel=ERROR\r\t\u{1b}[31m\u{7f}\u{85}\u{9b}\u{2028}é\0";
        let line = logged(Format::Logfmt, Level::Info, || {
            tracing::warn!(hostile, "x\ny");
        });
        let expected = "level=WARN msg=\"x\\ny\" hostile=\"a\\nlevel=ERROR\\r\\t\\u001b[31m\
                        \\u007f\\u0085\\u009b\\u2028é\\u0000\"\n";
        assert_eq!(line, expected);
        let line = logged(Format::Json, Level::Info, || {
            tracing::warn!(hostile, "x\ny");
        });
        let value: Value = serde_json::from_str(&format!("{{\"{line}")).unwrap();
        assert_eq!(value["hostile"], hostile);
        assert!(!line.trim_end().chars().any(breaks_a_line), "{line:?}");
    }

    #[test]
    fn json_keeps_types_and_order() {
        let line = logged(Format::Json, Level::Info, || {
            tracing::error!(z = 1, a = "b", nan = f64::NAN, list = ?[1, 2], "it \"broke\"");
        });
        let expected = "level\":\"ERROR\",\"msg\":\"it \\\"broke\\\"\",\"z\":1,\"a\":\"b\",\
                        \"nan\":\"NaN\",\"list\":\"[1, 2]\"}\n";
        assert_eq!(line, expected);
    }

    #[test]
    fn numbers_are_numbers() {
        let log = || {
            tracing::info!(
                took = 0.00476,
                tiny = 1e-9,
                large = 1e21,
                below = -3_i64,
                most = u64::MAX,
                infinite = f64::INFINITY,
                "x"
            );
        };
        let expected = "level=INFO msg=\"x\" took=0.004760 tiny=0.000000 \
                        large=1000000000000000000000.000000 below=-3 \
                        most=18446744073709551615 infinite=inf\n";
        assert_eq!(logged(Format::Logfmt, Level::Info, log), expected);
        let line = logged(Format::Json, Level::Info, log);
        let value: Value = serde_json::from_str(&format!("{{\"{line}")).unwrap();
        assert_eq!(value["took"].as_f64(), Some(0.00476));
        assert_eq!(value["tiny"].as_f64(), Some(1e-9));
        assert_eq!(value["large"].as_f64(), Some(1e21));
        assert_eq!(value["below"].as_i64(), Some(-3));
        assert_eq!(value["most"].as_u64(), Some(u64::MAX));
        assert_eq!(value["infinite"], "inf");
    }

    #[test]
    fn an_error_is_logged_with_its_causes() {
        let error = InitError::from(
            tracing::subscriber::set_global_default(Registry::default())
                .and_then(|()| tracing::subscriber::set_global_default(Registry::default()))
                .unwrap_err(),
        );
        let line = logged(Format::Logfmt, Level::Info, || {
            tracing::error!(error = &error as &(dyn Error + 'static), "failed");
        });
        assert!(
            line.starts_with("level=ERROR msg=\"failed\" error=\"set up the log: a global"),
            "{line}"
        );
    }

    #[test]
    fn what_is_less_important_than_the_level_is_not_logged() {
        let lines = logged(Format::Logfmt, Level::Warn, || {
            tracing::info!("no");
            tracing::warn!("yes");
        });
        assert_eq!(lines, "level=WARN msg=\"yes\"\n");
    }

    #[test]
    fn time_is_in_milliseconds_and_utc() {
        assert_eq!(time(Timestamp::from_micros(1_795_343_533_000_999)), "2026-11-22T10:32:13.000Z");
        assert_eq!(time(Timestamp::from_micros(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(Timestamp::from_micros(i64::MAX)), "1970-01-01T00:00:00.000Z");
    }
}
