//! The bytes of a caller, taken apart into lines of bounded length.

use crate::control::MAX_REQUEST;

/// What a caller has sent and nobody has looked at yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// How many of them have been looked at, and hold no line end.
    searched: usize,
    ended: bool,
}

/// A request longer than [`MAX_REQUEST`]. Where the next one begins cannot be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request is one line of at most {MAX_REQUEST} bytes")]
pub(super) struct TooLong;

impl Inbox {
    /// How many bytes may come in now, at most.
    pub(super) fn room(&self) -> usize {
        MAX_REQUEST.saturating_sub(self.bytes.len())
    }

    /// Takes in what has come, at most [`Self::room`] bytes. Nothing is the end of the caller's side.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.ended |= bytes.is_empty();
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether the caller sends nothing more.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether [`Self::next`] has something to give.
    pub(super) fn has_request(&self) -> bool {
        self.end().is_some() || self.room() == 0 || (self.ended && !self.bytes.is_empty())
    }

    /// Where the first line ends.
    fn end(&self) -> Option<usize> {
        let unknown = self.bytes.get(self.searched..)?;
        let end = unknown.iter().position(|byte| *byte == b'\n')?;
        self.searched.checked_add(end)
    }

    /// The next request, without its line end. The last one needs none.
    pub(super) fn next(&mut self) -> Option<Result<Vec<u8>, TooLong>> {
        let end = self.end();
        self.searched = if end.is_some() { 0 } else { self.bytes.len() };
        match end {
            Some(end) => {
                let rest = self.bytes.split_off(end.saturating_add(1));
                let mut line = std::mem::replace(&mut self.bytes, rest);
                line.pop();
                Some(Ok(line))
            }
            None if self.room() == 0 => {
                (self.bytes, self.searched) = (Vec::new(), 0);
                Some(Err(TooLong))
            }
            None if self.ended && !self.bytes.is_empty() => {
                self.searched = 0;
                Some(Ok(std::mem::take(&mut self.bytes)))
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn inbox(bytes: &[u8]) -> Inbox {
        let mut inbox = Inbox::default();
        inbox.take(bytes);
        inbox
    }

    #[test]
    fn lines_come_out_one_by_one_and_a_part_waits() {
        let mut inbox = inbox(b"one\n\ntw");
        assert_eq!(inbox.next(), Some(Ok(b"one".to_vec())));
        assert_eq!(inbox.next(), Some(Ok(vec![])));
        assert_eq!(inbox.next(), None);
        inbox.take(b"o");
        assert_eq!(inbox.next(), None);
        inbox.take(b"");
        assert_eq!(inbox.next(), Some(Ok(b"two".to_vec())));
        assert_eq!(inbox.next(), None);
    }

    #[test]
    fn the_longest_line_passes_and_one_more_byte_does_not() {
        let mut line = vec![b'x'; MAX_REQUEST - 1];
        line.push(b'\n');
        let mut fits = inbox(&line);
        assert_eq!(fits.room(), 0);
        assert_eq!(fits.next().unwrap().unwrap().len(), MAX_REQUEST - 1);
        let mut over = inbox(&[b'x'; MAX_REQUEST]);
        assert_eq!(over.next(), Some(Err(TooLong)));
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_same_lines_come_out(
            text in "[a-z\n]{0,300}",
            cuts in prop::collection::vec(1_usize..20, 1..50),
        ) {
            let mut expected: Vec<_> = text.split('\n').map(|line| line.as_bytes().to_vec()).collect();
            // What follows the last line end is a request only if it is something.
            if expected.last().is_some_and(Vec::is_empty) {
                expected.pop();
            }
            let (mut inbox, mut lines) = (Inbox::default(), Vec::new());
            let mut rest = text.as_bytes();
            for cut in cuts.into_iter().cycle().take_while(|_| true) {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(cut.min(rest.len()));
                inbox.take(now);
                rest = later;
                while let Some(line) = inbox.next() {
                    lines.push(line.unwrap());
                }
            }
            inbox.take(b"");
            while inbox.has_request() {
                lines.push(inbox.next().unwrap().unwrap());
            }
            prop_assert_eq!(lines, expected);
        }

        #[test]
        fn no_input_takes_more_than_its_bound(chunks in prop::collection::vec(any::<Vec<u8>>(), 0..100)) {
            let mut inbox = Inbox::default();
            for chunk in chunks {
                let chunk = &chunk[..chunk.len().min(inbox.room())];
                inbox.take(chunk);
                prop_assert!(inbox.bytes.len() <= MAX_REQUEST);
                let had = inbox.has_request();
                prop_assert_eq!(inbox.next().is_some(), had);
            }
        }
    }
}
