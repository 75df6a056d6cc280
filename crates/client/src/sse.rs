//! Parses server-sent events (WHATWG HTML, 9.2.5 and 9.2.6).

use std::time::Duration;

use crate::error::ClientError;

/// The largest event and the longest line, in bytes. Sidevault's events have about 150 bytes.
const EVENT_BYTES: usize = 256 * 1024;

/// One event. Differs from the standard in one point: an event with a name and without data is not dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The value of `event:`; empty if the event has none.
    pub(crate) event: String,
    /// The values of all `data:` lines, joined by line feeds.
    pub(crate) data: String,
    /// The value of the last `id:`, in this event or an earlier one.
    pub(crate) last_id: Option<String>,
}

/// Assembles events from chunks that may be cut at any byte.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    last_id: Option<String>,
    line: Vec<u8>,
    /// Whether the last byte was a carriage return.
    after_cr: bool,
    /// Whether the first line, which may begin with a byte order mark, was read.
    begun: bool,
    frame: Frame,
    has_data: bool,
    retry: Option<Duration>,
}

impl Parser {
    /// A parser for a stream that continues after the event with this id.
    pub(crate) fn after(last_id: Option<String>) -> Self {
        Self {
            last_id: last_id.clone(),
            frame: Frame {
                last_id,
                ..Frame::default()
            },
            ..Self::default()
        }
    }

    /// Parses a chunk and returns the events that it completes.
    ///
    /// # Errors
    /// [`ClientError::Unexpected`] if a line or an event is larger than 256 KiB.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, ClientError> {
        let mut frames = Vec::new();
        for &byte in bytes {
            // A line ends with LF, CR, or CR LF. A chunk may end between CR and LF.
            let second_half = std::mem::take(&mut self.after_cr) && byte == b'\n';
            match byte {
                b'\n' if second_half => {}
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    frames.extend(self.end_of_line());
                }
                _ => self.line.push(byte),
            }
            if self.line.len() + self.frame.data.len() > EVENT_BYTES {
                return Err(ClientError::Unexpected("an event is too large"));
            }
        }
        Ok(frames)
    }

    /// The id to resume after: the last `id:` of a complete event. A server may send an event that has an id only.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// The last `retry:`, unless a call returned it before.
    pub(crate) fn take_retry(&mut self) -> Option<Duration> {
        self.retry.take()
    }

    fn end_of_line(&mut self) -> Option<Frame> {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        match line {
            [] => self.end_of_event(),
            line => {
                let line = String::from_utf8_lossy(line);
                let (name, value) = line.split_once(':').unwrap_or((&line, ""));
                self.field(name, value.strip_prefix(' ').unwrap_or(value));
                None
            }
        }
    }

    /// Handles one line. A comment is a field without a name, which is ignored like every unknown field.
    fn field(&mut self, name: &str, value: &str) {
        match name {
            "event" => value.clone_into(&mut self.frame.event),
            "data" => {
                if self.has_data {
                    self.frame.data.push('\n');
                }
                self.frame.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.frame.last_id = Some(value.to_owned()),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry);
            }
            _ => {}
        }
    }

    fn end_of_event(&mut self) -> Option<Frame> {
        self.last_id.clone_from(&self.frame.last_id);
        let next = Frame {
            last_id: self.last_id.clone(),
            ..Frame::default()
        };
        let frame = std::mem::replace(&mut self.frame, next);
        let has_data = std::mem::take(&mut self.has_data);
        Some(frame).filter(|frame| has_data || !frame.event.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(event: &str, data: &str, last_id: Option<&str>) -> Frame {
        Frame {
            event: event.into(),
            data: data.into(),
            last_id: last_id.map(Into::into),
        }
    }

    fn parse(text: &[u8]) -> Vec<Frame> {
        Parser::default().push(text).unwrap()
    }

    #[test]
    fn the_id_of_an_event_applies_to_later_events() {
        let frames =
            parse(b": hello\n\nid: 7\nevent: item.updated\ndata: {}\n\nevent: reset\n\ndata:a\ndata: b\ndata\n\n");
        assert_eq!(
            frames,
            [
                frame("item.updated", "{}", Some("7")),
                frame("reset", "", Some("7")),
                frame("", "a\nb\n", Some("7")),
            ]
        );
    }

    #[test]
    fn line_ends_and_byte_order_mark_are_recognised() {
        for end in ["\n", "\r", "\r\n"] {
            let text = format!("\u{feff}id:1{end}data: x{end}{end}data:  y{end}{end}");
            assert_eq!(
                parse(text.as_bytes()),
                [frame("", "x", Some("1")), frame("", " y", Some("1"))]
            );
        }
    }

    #[test]
    fn unknown_and_invalid_fields_are_ignored() {
        let frames = parse(b"id: a\0b\nretry: soon\nwhat: x\ndata: 1\n\nid\n\nevent: cut");
        assert_eq!(frames, [frame("", "1", None)]);
    }

    #[test]
    fn an_id_counts_only_if_its_event_is_complete() {
        let mut parser = Parser::after(Some("3".into()));
        assert!(parser.push(b"id: 4\ndata: x\n").unwrap().is_empty());
        assert_eq!(parser.last_id(), Some("3"));
        parser.push(b"\n").unwrap();
        assert_eq!(parser.last_id(), Some("4"));
        assert!(parser.push(b"id: 5\n\n").unwrap().is_empty());
        assert_eq!(parser.last_id(), Some("5"));
    }

    #[test]
    fn retry_sets_the_wait() {
        let mut parser = Parser::default();
        parser
            .push(b"retry: 1500\nretry:\nretry: 99999999999999999999999\n")
            .unwrap();
        assert_eq!(parser.take_retry(), Some(Duration::from_millis(1500)));
        assert_eq!(parser.take_retry(), None);
    }

    #[test]
    fn an_endless_line_or_event_is_refused() {
        let long = vec![b'x'; EVENT_BYTES + 1];
        assert!(Parser::default().push(&long).is_err());
        let lines = b"data: xxxxxxxxxxxxxxxx\n".repeat(EVENT_BYTES / 16);
        assert!(Parser::default().push(&lines).is_err());
    }

    fn stream_text() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just("data: "),
            Just("event:"),
            Just("id: "),
            Just(":"),
            Just("retry: 5"),
            Just("\n"),
            Just("\r"),
            Just("\r\n"),
            Just("\n\n"),
            Just("ü"),
            Just("7"),
            Just("\u{feff}"),
            Just(" "),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn chunk_boundaries_make_no_difference(text in stream_text(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let whole = parse(&text);
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            at.sort_unstable();
            let (mut parser, mut frames, mut start) = (Parser::default(), Vec::new(), 0);
            for end in at.into_iter().chain([text.len()]) {
                frames.extend(parser.push(&text[start..end]).unwrap());
                start = end;
            }
            prop_assert_eq!(&frames, &whole);
            let mut parser = Parser::default();
            let bytewise: Vec<Frame> = text.iter().flat_map(|byte| parser.push(&[*byte]).unwrap()).collect();
            prop_assert_eq!(&bytewise, &whole);
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = Parser::default().push(&bytes);
        }
    }
}
