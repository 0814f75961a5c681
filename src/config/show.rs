//! Every effective setting with its origin, as `config show` prints it.

use std::{
    fmt::{self, Write as _},
    path::PathBuf,
};

use serde::{Serialize, Serializer};
use serde_json::Value;

/// One effective setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its whole name, such as `watch.interval` or `--log.level`.
    pub key: String,
    /// Its value; null where there is none.
    pub value: Value,
    /// Who said so.
    pub origin: Origin,
    /// Whether this version does what it says.
    pub in_effect: bool,
}

/// Who made a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// A line of a file, counted from 1.
    File(PathBuf, usize),
    /// A flag of the command line.
    Flag(&'static str),
}

impl Row {
    /// The row of a flag that is a setting of its own: what was given, else its default.
    #[must_use]
    pub fn flag(flag: &'static str, given: Option<Value>, default: Value) -> Self {
        let origin = if given.is_some() { Origin::Flag(flag) } else { Origin::Default };
        Self { key: flag.to_owned(), value: given.unwrap_or(default), origin, in_effect: true }
    }

    /// Somebody made this setting, and this version does nothing about it.
    #[must_use]
    pub fn is_set_in_vain(&self) -> bool {
        !self.in_effect && self.origin != Origin::Default
    }
}

/// The settings for people, one in a line.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let lines: Vec<[String; 3]> = rows.iter().map(columns).collect();
    let width = |column: fn(&[String; 3]) -> &String| {
        lines.iter().map(|line| column(line).chars().count()).max().unwrap_or(0)
    };
    let (keys, values) = (width(|[key, _, _]| key), width(|[_, value, _]| value));
    let mut text = String::new();
    for [key, value, origin] in &lines {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key:keys$}  {value:values$}  {origin}");
    }
    text
}

/// The settings for programs: an array of objects with key, value, origin, `in_effect`.
pub fn json(rows: &[Row]) -> serde_json::Result<String> {
    serde_json::to_string_pretty(rows).map(|text| text + "\n")
}

fn columns(row: &Row) -> [String; 3] {
    // JSON writes these values as TOML does.
    let value = if row.value.is_null() { "-".to_owned() } else { row.value.to_string() };
    let note = if row.is_set_in_vain() { " (no effect in this version)" } else { "" };
    [row.key.clone(), value, format!("{}{note}", row.origin)]
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File(file, line) => write!(formatter, "{}:{line}", file.display()),
            Self::Flag(flag) => write!(formatter, "flag {flag}"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let file = PathBuf::from("/etc/g.toml");
        vec![
            Row {
                key: "watch.interval".into(),
                value: "1s".into(),
                origin: Origin::File(file.clone(), 2),
                in_effect: true,
            },
            Row {
                key: "reload.settle".into(),
                value: "60s".into(),
                origin: Origin::File(file, 4),
                in_effect: false,
            },
            Row::flag("--web.config.file", None, Value::Null),
            Row::flag("--path.procfs", Some("/p".into()), "/proc".into()),
        ]
    }

    #[test]
    fn people_see_columns() {
        let expected = "\
watch.interval     \"1s\"   /etc/g.toml:2
reload.settle      \"60s\"  /etc/g.toml:4 (no effect in this version)
--web.config.file  -      default
--path.procfs      \"/p\"   flag --path.procfs
";
        assert_eq!(table(&rows()), expected);
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn programs_see_objects() {
        let text = json(rows().get(1..3).unwrap()).unwrap();
        let expected = serde_json::json!([
            {"key": "reload.settle", "value": "60s", "origin": "/etc/g.toml:4", "in_effect": false},
            {"key": "--web.config.file", "value": null, "origin": "default", "in_effect": true},
        ]);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }
}
