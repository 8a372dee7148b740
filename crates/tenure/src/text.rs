//! Texts of callers, checked when the request is made.

use tenure_core::{BadText, LockName, Note};

/// What may stand where a checked text is wanted: the text itself, or a string that is checked when the request is
/// sent. A wrong one is an error of that request ([`Error::Refused`](crate::Error)), never a panic.
pub trait IntoText<T> {
    /// The checked text.
    fn into_text(self) -> Result<T, BadText>;
}

macro_rules! into_text {
    ($($text:ty)+) => {$(
        impl IntoText<$text> for $text {
            fn into_text(self) -> Result<$text, BadText> {
                Ok(self)
            }
        }

        impl IntoText<$text> for &$text {
            fn into_text(self) -> Result<$text, BadText> {
                Ok(self.clone())
            }
        }

        impl IntoText<$text> for &str {
            fn into_text(self) -> Result<$text, BadText> {
                <$text>::new(self)
            }
        }

        impl IntoText<$text> for String {
            fn into_text(self) -> Result<$text, BadText> {
                <$text>::new(self)
            }
        }

        impl IntoText<$text> for &String {
            fn into_text(self) -> Result<$text, BadText> {
                <$text>::new(self)
            }
        }
    )+};
}

into_text!(LockName Note);
