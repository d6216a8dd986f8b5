//! Messages of the scheduler, which knows classes by number, in the operator's words.

use qos::{ClassId, Rate};

/// The text with every class in it called by its name.
pub(super) fn in_words(text: &str, name: impl Fn(ClassId) -> String) -> String {
    const CLASS: &str = "class ";
    let mut words = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(CLASS) {
        let (before, found) = rest.split_at(at);
        let after = found.strip_prefix(CLASS).unwrap_or(found);
        let end = after.find(|c: char| !c.is_ascii_hexdigit() && c != ':');
        let (id, tail) = after.split_at(end.unwrap_or(after.len()));
        words.push_str(before);
        match id.parse() {
            Ok(id) => words.push_str(&name(id)),
            Err(_) => words.extend([CLASS, id]),
        }
        rest = tail;
    }
    words.push_str(rest);
    words
}

/// A sum of rates, which may be more or less than a rate can be.
pub(super) fn sum_in_words(bits: u64) -> String {
    match Rate::from_bits_per_second(bits) {
        Some(rate) => rate.to_string(),
        None => format!("{bits}bit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_get_their_names_and_nothing_else_changes() {
        let name = |id: ClassId| format!("<{}>", id.minor);
        let text = "class 0:1, rule 2: class 0:10 does not lie below class 0:1; a class has rules";
        assert_eq!(
            in_words(text, name),
            "<1>, rule 2: <16> does not lie below <1>; a class has rules"
        );
        assert_eq!(in_words("at most one class", name), "at most one class");
        assert_eq!(in_words("one class ", name), "one class ");
    }
}
