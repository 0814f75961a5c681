//! Closed sets: enums whose every value has one word, the same in metric, page, journal and log.

/// Declares an enum together with the word of each value.
macro_rules! closed_set {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $value:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $value,)+ }

        impl $name {
            /// Every value, in the contract's order.
            pub const ALL: &'static [Self] = &[$(Self::$value,)+];

            /// Every value's word.
            #[must_use]
            pub fn words() -> Vec<&'static str> {
                Self::ALL.iter().map(|value| value.label()).collect()
            }

            /// The value's word.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$value => $word,)+ }
            }
        }
    };
}

pub(crate) use closed_set;
