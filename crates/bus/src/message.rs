//! The content of a frame: a kind, the number of a call, and the body.
//!
//! ```text
//! kind (1 byte) | number of the call (8 bytes, big-endian; 0 if there is none) | body
//! ```

use bytes::{Buf as _, Bytes};

use crate::frame::LinkError;

/// The number of bytes before the body.
pub(crate) const HEAD: usize = 9;

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A sign of life. It is not answered, because the other side sends its own pings.
    Ping,
    /// A request that is answered under the same number.
    Call(u64),
    /// The answer to the call with this number.
    Answer(u64),
    /// The call with this number will not be answered.
    NoAnswer(u64),
    /// A message without an answer.
    Notice,
}

impl Kind {
    pub(crate) fn head(self) -> [u8; HEAD] {
        let (kind, number) = match self {
            Self::Ping => (0, 0),
            Self::Call(number) => (1, number),
            Self::Answer(number) => (2, number),
            Self::NoAnswer(number) => (3, number),
            Self::Notice => (4, 0),
        };
        let mut head = [kind; HEAD];
        head[1..].copy_from_slice(&number.to_be_bytes());
        head
    }
}

/// Splits a frame into its kind and its body.
pub(crate) fn parse(mut frame: Bytes) -> Result<(Kind, Bytes), LinkError> {
    if frame.len() < HEAD {
        return Err(LinkError::Protocol("frame without a head"));
    }
    let (kind, number) = (frame.get_u8(), frame.get_u64());
    let kind = match kind {
        0 => Kind::Ping,
        1 => Kind::Call(number),
        2 => Kind::Answer(number),
        3 => Kind::NoAnswer(number),
        4 => Kind::Notice,
        _ => return Err(LinkError::Protocol("unknown kind of message")),
    };
    Ok((kind, frame))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_message_is_parsed_as_written(number: u64, body: Vec<u8>) {
            for kind in [Kind::Ping, Kind::Call(number), Kind::Answer(number), Kind::NoAnswer(number), Kind::Notice] {
                let frame = Bytes::from([kind.head().as_slice(), &body].concat());
                prop_assert_eq!(parse(frame).unwrap(), (kind, Bytes::from(body.clone())));
            }
        }

        #[test]
        fn no_frame_panics(frame: Vec<u8>) {
            let _ = parse(frame.into());
        }
    }
}
