//! Texts that come from outside, checked once: names, notes, owners, request ids.

use std::borrow::Borrow;
use std::fmt;

use arcstr::ArcStr;
use serde::{Deserialize, Serialize};

use crate::limits;

/// Why a text was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// Shorter than the bound.
    #[error("must have at least {min} bytes")]
    TooShort {
        /// Fewest bytes allowed.
        min: usize,
    },
    /// Longer than the bound.
    #[error("has {bytes} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes it has.
        bytes: usize,
        /// Most bytes allowed.
        max: usize,
    },
    /// A control, bidirectional-override or noncharacter, which could forge a log line or a terminal's screen.
    #[error("has the forbidden character U+{0:04X}")]
    Forbidden(u32),
}

/// Control characters, bidirectional overrides and noncharacters never stand in a text of ours.
fn is_forbidden(c: char) -> bool {
    let code = c as u32;
    c.is_control()
        || matches!(code, 0x061C | 0x200E | 0x200F | 0x2028..=0x202E | 0x2066..=0x2069 | 0xFDD0..=0xFDEF)
        || code & 0xFFFE == 0xFFFE
}

fn check(text: &str, min: usize, max: usize) -> Result<(), BadText> {
    if text.len() < min {
        return Err(BadText::TooShort { min });
    }
    if text.len() > max {
        return Err(BadText::TooLong { bytes: text.len(), max });
    }
    match text.chars().find(|c| is_forbidden(*c)) {
        Some(c) => Err(BadText::Forbidden(c as u32)),
        None => Ok(()),
    }
}

// Shared, and one word wide: a held lock has half a dozen of them.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $min:expr, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(ArcStr);

        impl $name {
            /// Checks the text; bytes compare, nothing is normalised.
            pub fn new(text: impl AsRef<str>) -> Result<Self, BadText> {
                let text = text.as_ref();
                check(text, $min, $max)?;
                Ok($name(ArcStr::from(text)))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text!(
    /// The name of a lock: 1–512 bytes of UTF-8 without control, bidirectional-override or noncharacters.
    LockName, 1, limits::NAME_BYTES_MAX
);
text!(
    /// The beginning of names; empty means all of them.
    Prefix, 0, limits::NAME_BYTES_MAX
);
text!(
    /// Free text of a client (who, why, where), shown to losers and operators.
    Note, 0, limits::NOTE_BYTES_MAX
);
text!(
    /// One flow of control inside its session, or, without a session, inside its API key.
    Owner, 1, limits::OWNER_BYTES_MAX
);
text!(
    /// What an operator gives as the reason of an act.
    Reason, 0, limits::NOTE_BYTES_MAX
);
text!(
    /// The name of an API key.
    KeyName, 1, limits::KEY_NAME_BYTES_MAX
);
text!(
    /// Names one logical request, so that its retry is the same request. As secret as a lease.
    ///
    /// In a session, ids of the form `seq-` and a decimal number are kept as numbers, so that nothing need be
    /// remembered by time.
    RequestId, limits::REQUEST_ID_BYTES_MIN, limits::REQUEST_ID_BYTES_MAX
);

impl Owner {
    /// A name the machine made itself.
    pub(crate) fn made(text: String) -> Self {
        Owner(ArcStr::from(text))
    }
}

impl Prefix {
    /// Whether `name` begins with this.
    pub fn covers(&self, name: &str) -> bool {
        name.starts_with(&*self.0)
    }
}

impl RequestId {
    /// A name the machine made itself.
    pub(crate) fn made(text: String) -> Self {
        RequestId(ArcStr::from(text))
    }

    /// The number of a `seq-<number>` id.
    pub fn sequence(&self) -> Option<u64> {
        let digits = self.0.strip_prefix("seq-")?;
        if digits.is_empty() || digits.len() > 19 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok()
    }
}
