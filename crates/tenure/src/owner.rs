//! Flows of control.

use tenure_core::{Owner as Text, limits};

use crate::dice;
use crate::error::Refusal;

/// Bytes of an owner that are not the label: a dash and twelve letters.
const UNIQUE_BYTES: usize = 13;

/// One flow of control, such as a task that takes several locks one after the other. Made by
/// [`Tenure::owner`](crate::Tenure::owner); unlike any other, also one with the same label.
#[derive(Debug, Clone)]
pub struct Owner {
    text: Result<Text, Refusal>,
}

impl Owner {
    pub(crate) fn new(label: &str) -> Self {
        let longest = limits::OWNER_BYTES_MAX - UNIQUE_BYTES;
        let text = match Text::new(label) {
            Err(why) => Err(Refusal::text("owner", &why)),
            Ok(_) if label.len() > longest => {
                Err(Refusal::field("owner", format!("has more than {longest} bytes")))
            }
            Ok(_) => Ok(dice::owner(label)),
        };
        Owner { text }
    }

    pub(crate) fn text(&self) -> Result<Text, Refusal> {
        self.text.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_owners_of_one_label_are_two() {
        assert_ne!(Owner::new("worker").text().unwrap(), Owner::new("worker").text().unwrap());
    }

    #[test]
    fn a_wrong_label_is_refused_and_no_panic() {
        for label in ["", "a\nb", &"x".repeat(116)] {
            assert!(Owner::new(label).text().is_err(), "{label:?}");
        }
        assert!(Owner::new(&"x".repeat(115)).text().is_ok());
    }
}
