//! Texts with rules: how the core's checked types are read and written. A text that breaks its rule is refused while
//! it is read, so no unchecked one exists beyond this point.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserializer, Serializer};
use tenure_core::{
    BadText, KeyName, Lease, LockName, Note, Owner, Prefix, Reason, RequestId, SessionHandle,
    SessionId,
};

/// Why a text is not of its type.
pub(crate) enum Bad {
    /// Too short or too long.
    Length { bytes: usize, rule: String },
    /// The wrong form.
    Form { found: String, rule: &'static str },
}

/// A core type that stands in JSON as a text.
pub(crate) trait WireText: Sized {
    fn read(text: &str) -> Result<Self, Bad>;
    fn write(&self) -> Cow<'_, str>;
}

fn bad_text(text: &str, why: BadText) -> Bad {
    match why {
        BadText::TooShort { min } => {
            Bad::Length { bytes: text.len(), rule: format!("at least {min} bytes") }
        }
        BadText::TooLong { max, .. } => {
            Bad::Length { bytes: text.len(), rule: format!("at most {max} bytes") }
        }
        BadText::Forbidden(code) => Bad::Form {
            found: format!("the character U+{code:04X}"),
            rule: "text without control characters, bidirectional overrides and noncharacters",
        },
    }
}

macro_rules! checked {
    ($($name:ident)+) => {$(
        impl WireText for $name {
            fn read(text: &str) -> Result<Self, Bad> {
                $name::new(text).map_err(|why| bad_text(text, why))
            }

            fn write(&self) -> Cow<'_, str> {
                Cow::Borrowed(self.as_str())
            }
        }
    )+};
}

checked!(KeyName LockName Note Owner Prefix Reason RequestId);

impl WireText for Lease {
    fn read(text: &str) -> Result<Self, Bad> {
        // What was sent may be a secret with a typing error: it is not repeated.
        let bad = |_| Bad::Form {
            found: "another text".into(),
            rule: "a lease of 32 letters and digits",
        };
        text.parse().map_err(bad)
    }

    fn write(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.as_str())
    }
}

impl WireText for SessionHandle {
    fn read(text: &str) -> Result<Self, Bad> {
        let bad = |_| Bad::Form {
            found: "another text".into(),
            rule: "a session's handle, `s-….secret`",
        };
        text.parse().map_err(bad)
    }

    fn write(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_string())
    }
}

impl WireText for SessionId {
    fn read(text: &str) -> Result<Self, Bad> {
        let bad = |_| Bad::Form { found: "another text".into(), rule: "a session's id, `s-…`" };
        text.parse().map_err(bad)
    }

    fn write(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_string())
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: WireText> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::read(text).map_err(|bad| match bad {
            Bad::Length { bytes, rule } => E::invalid_length(bytes, &rule.as_str()),
            Bad::Form { found, rule } => E::invalid_value(Unexpected::Other(&found), &rule),
        })
    }
}

/// For a field that must be there.
pub(crate) mod text {
    use super::*;

    pub(crate) fn serialize<T: WireText, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&value.write())
    }

    pub(crate) fn deserialize<'de, T: WireText, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        from.deserialize_str(TextVisitor(PhantomData))
    }
}

/// For a field that may be missing or null.
pub(crate) mod text_option {
    use super::*;

    pub(crate) fn serialize<T: WireText, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.serialize_str(&value.write()),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T: WireText, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        from.deserialize_option(OptionVisitor(PhantomData))
    }

    struct OptionVisitor<T>(PhantomData<T>);

    impl<'de, T: WireText> Visitor<'de> for OptionVisitor<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text or null")
        }

        fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
            text::deserialize(from).map(Some)
        }
    }
}

/// For a list.
pub(crate) mod text_list {
    use super::*;
    use serde::de::SeqAccess;

    pub(crate) fn serialize<T: WireText, S: Serializer>(
        list: &[T],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(list.iter().map(WireText::write))
    }

    pub(crate) fn deserialize<'de, T: WireText, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        from.deserialize_seq(ListVisitor(PhantomData))
    }

    struct Item<T>(T);

    impl<'de, T: WireText> serde::Deserialize<'de> for Item<T> {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            text::deserialize(from).map(Item)
        }
    }

    struct ListVisitor<T>(PhantomData<T>);

    impl<'de, T: WireText> Visitor<'de> for ListVisitor<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of texts")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(Item(item)) = items.next_element()? {
                list.push(item);
            }
            Ok(list)
        }
    }
}

/// For a list of objects. What is derived would also take a list of values in the order of the fields.
pub(crate) mod objects {
    use super::*;
    use serde::de::value::MapAccessDeserializer;
    use serde::de::{Deserialize, MapAccess};

    pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Vec<T>>, D::Error> {
        let list = Option::<Vec<Object<T>>>::deserialize(from)?;
        Ok(list.map(|list| list.into_iter().map(|Object(item)| item).collect()))
    }

    struct Object<T>(T);

    impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_map(ObjectVisitor(PhantomData)).map(Object)
        }
    }

    struct ObjectVisitor<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }
}
