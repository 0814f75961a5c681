//! What became of a server, told from its error logs, or as the journal has it.
//!
//! Lines become [`note::Note`]s, notes become entries of a [`story::Story`], and entries are shown
//! as a table, as JSON or as a paragraph. Unlike what is believed of a server that runs, a story
//! believes the log.
//!
//! Times of a log are the host's own: they are read in the zone that an operator names. A line
//! that has no time gets that of the line before it; a log without any, that of the file, and says so.

pub mod calendar;
pub mod gzip;
pub mod journal;
pub mod note;
pub mod parent;
pub mod same;
pub mod story;
pub mod stream;
pub mod summary;
pub mod table;
pub mod words;
