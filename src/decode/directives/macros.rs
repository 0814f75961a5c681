//! `<Macro>`: text that is read where it is used, with words of it replaced.

use super::{limits::Work, words::words};

/// A macro with more parameters is not followed.
const MOST_PARAMETERS: usize = 1000;
/// What a place where a name may stand costs beside that, in bytes that are looked through.
const EACH: usize = 8;

/// The names of its parameters, and its text.
#[derive(Clone, Debug)]
pub(super) struct Macro {
    parameters: Vec<Vec<u8>>,
    body: Vec<u8>,
    /// It has more parameters.
    is_cut: bool,
}

impl Macro {
    /// What its first line tells: its name, of which the case does not count.
    pub(super) fn named(rest: &[u8]) -> (Vec<u8>, Self) {
        let end = rest.iter().rposition(|byte| *byte == b'>').unwrap_or(rest.len());
        let mut words = words(rest.get(..end).unwrap_or_default());
        let name = words.next().unwrap_or_default().to_ascii_lowercase();
        let parameters = words.by_ref().take(MOST_PARAMETERS).collect();
        (name, Self { parameters, body: Vec::new(), is_cut: words.next().is_some() })
    }

    pub(super) fn add(&mut self, line: &[u8]) {
        self.body.extend_from_slice(line);
        self.body.push(b'\n');
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        let names = self.parameters.iter().map(|name| size_of::<Vec<u8>>() + name.len());
        names.sum::<usize>().saturating_add(self.body.len())
    }

    /// Its text with these values; `None` if it would be longer than `most` bytes, or take more
    /// work than is left.
    pub(super) fn text(
        &self,
        values: impl Iterator<Item = Vec<u8>>,
        most: usize,
        work: &mut Work,
    ) -> Option<Vec<u8>> {
        if self.is_cut {
            return None;
        }
        let mut values: Vec<(&Vec<u8>, Vec<u8>)> = self.parameters.iter().zip(values).collect();
        // The longest name first, so that none is taken for the beginning of another.
        values.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        replaced(&self.body, &values, most, work)
    }
}

fn replaced(
    text: &[u8],
    values: &[(&Vec<u8>, Vec<u8>)],
    most: usize,
    work: &mut Work,
) -> Option<Vec<u8>> {
    let mut begins_a_name = [false; 256];
    for first in values.iter().filter_map(|(name, _)| name.first()) {
        if let Some(begins) = begins_a_name.get_mut(usize::from(*first)) {
            *begins = true;
        }
    }
    // Each name is compared where one may begin.
    let comparing = values.iter().map(|(name, _)| 1 + name.len() / 16).sum::<usize>() + EACH;
    let mut whole = Vec::with_capacity(text.len().min(most));
    let mut rest = text;
    let mut can_go_on = work.take(text.len());
    while let Some(place) =
        rest.iter().position(|byte| begins_a_name.get(usize::from(*byte)) == Some(&true))
    {
        let (before, from) = rest.split_at_checked(place)?;
        whole.extend_from_slice(before);
        let named = values.iter().find(|(name, _)| !name.is_empty() && from.starts_with(name));
        let made;
        (made, rest) = match named {
            Some((name, value)) => (value.as_slice(), from.get(name.len()..).unwrap_or_default()),
            None => from.split_at_checked(1)?,
        };
        whole.extend_from_slice(made);
        can_go_on = can_go_on && work.take(comparing.saturating_add(made.len()));
        if !can_go_on || whole.len() > most {
            return None;
        }
    }
    whole.extend_from_slice(rest);
    (can_go_on && whole.len() <= most).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(first: &str, body: &[u8]) -> Macro {
        let (_, mut told) = Macro::named(first.as_bytes());
        told.add(body);
        told
    }

    fn text(told: &Macro, values: &[&str], work: &mut Work) -> Option<String> {
        let values = values.iter().map(|value| value.as_bytes().to_owned());
        told.text(values, 1 << 20, work).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn the_longest_name_counts_and_what_has_no_value_stays() {
        let told = told("M $n $name @x>", b"$name$n-$na@x$");
        let made = |values| text(&told, values, &mut Work::whole());
        assert_eq!(made(&["1", "2", "$n"]).as_deref(), Some("21-1a$n$\n"));
        assert_eq!(made(&["1"]).as_deref(), Some("1ame1-1a@x$\n"));
        assert_eq!(made(&[]).as_deref(), Some("$name$n-$na@x$\n"));
    }

    #[test]
    fn a_use_costs_what_it_takes_whether_it_makes_much_or_not() {
        let empties = told("M $p>", &b"$p".repeat(100_000));
        let grows = told("M $p>", &b"$p".repeat(2000));
        let long = "x".repeat(1000);
        for (told, value, most) in [(&empties, "", 300), (&grows, long.as_str(), 70)] {
            let mut work = Work::whole();
            let uses = (0..1000).take_while(|_| {
                text(told, &[value], &mut work);
                work.take(1)
            });
            assert!(uses.count() < most);
            assert_eq!(text(told, &[value], &mut work), None);
        }
    }

    #[test]
    fn too_many_parameters_are_not_followed() {
        let many = told(&format!("M {}>", "$p ".repeat(1001)), b"$p");
        assert_eq!(text(&many, &["1"], &mut Work::whole()), None);
        assert_eq!(many.parameters.len(), MOST_PARAMETERS);
    }
}
