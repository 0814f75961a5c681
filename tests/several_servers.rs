//! Several httpds beside each other, in units, and in namespaces of their own.

mod beside;
mod elsewhere;
mod units;
