//! A checked value as it is shown: as one would type it.

use std::{path::PathBuf, time::Duration};

use serde_json::Value;

use super::{duration, url::Url, value::WordOr};

/// What `config show` can print.
pub(super) trait Shown {
    fn shown(&self) -> Value;
}

impl Shown for Duration {
    fn shown(&self) -> Value {
        duration::text(*self).into()
    }
}

impl Shown for i64 {
    fn shown(&self) -> Value {
        (*self).into()
    }
}

impl Shown for bool {
    fn shown(&self) -> Value {
        (*self).into()
    }
}

impl Shown for &'static str {
    fn shown(&self) -> Value {
        (*self).into()
    }
}

impl Shown for String {
    fn shown(&self) -> Value {
        self.as_str().into()
    }
}

impl Shown for PathBuf {
    fn shown(&self) -> Value {
        self.to_string_lossy().into()
    }
}

impl Shown for Url {
    fn shown(&self) -> Value {
        self.as_str().into()
    }
}

impl<T: Shown> Shown for Vec<T> {
    fn shown(&self) -> Value {
        self.iter().map(Shown::shown).collect()
    }
}

impl<T: Shown> Shown for Option<T> {
    fn shown(&self) -> Value {
        self.as_ref().map_or(Value::Null, Shown::shown)
    }
}

impl<T: Shown> Shown for WordOr<T> {
    fn shown(&self) -> Value {
        match self {
            Self::Word(word) => (*word).into(),
            Self::Other(other) => other.shown(),
        }
    }
}
