//! Forms and query strings: names with texts, nothing nested. Each name once, nothing unknown, UTF-8 only.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Unexpected,
    Visitor,
};
use serde::forward_to_deserialize_any;
use tenure_api::BadReason;

use super::why;
use crate::error::Refused;

/// What is wrong with a form or query string, and at which name.
#[derive(Debug)]
pub(super) struct Wrong {
    field: Option<String>,
    reason: Option<BadReason>,
    message: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Wrong { field: None, reason: None, message: message.to_string() }
    }
}

impl From<Wrong> for Refused {
    fn from(wrong: Wrong) -> Self {
        let (named, reason) = why::of_message(&wrong.message);
        let field = named.map(str::to_owned).or(wrong.field).unwrap_or_default();
        Refused::field(&field, wrong.reason.unwrap_or(reason), wrong.message)
    }
}

/// Reads `name=value&…` as `T`.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Wrong> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    T::deserialize(Flat { pairs, value: None })
}

/// Undoes percent encoding, once and strictly; with `plus`, `+` stands for a blank.
pub(crate) fn decoded(text: &str, plus: bool) -> Result<String, &'static str> {
    let bytes = text.as_bytes();
    let mut clear = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = match bytes[at] {
            b'%' => {
                let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
                let pair = digit(at + 1).zip(digit(at + 2));
                let (high, low) = pair.ok_or("a `%` is not followed by two hexadecimal digits")?;
                at += 2;
                u8::try_from(high * 16 + low).expect("two digits are a byte")
            }
            b'+' if plus => b' ',
            other => other,
        };
        clear.push(byte);
        at += 1;
    }
    String::from_utf8(clear).map_err(|_| "it is not UTF-8")
}

fn part(text: &str, field: Option<&str>) -> Result<String, Wrong> {
    decoded(text, true).map_err(|why| Wrong {
        field: Some(field.unwrap_or(text).to_owned()),
        reason: Some(BadReason::Encoding),
        message: why.to_owned(),
    })
}

struct Flat<'a, I> {
    pairs: I,
    value: Option<(String, &'a str)>,
}

impl<'de, 'a, I: Iterator<Item = &'a str>> Deserializer<'de> for Flat<'a, I> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, 'a, I: Iterator<Item = &'a str>> MapAccess<'de> for Flat<'a, I> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        let Some(pair) = self.pairs.next() else { return Ok(None) };
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = part(name, None)?;
        let key: StrDeserializer<'_, Wrong> = name.as_str().into_deserializer();
        let key = seed.deserialize(key)?;
        self.value = Some((name, value));
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let (name, value) = self.value.take().expect("a value is asked for after its name");
        let value = part(value, Some(&name))?;
        let read = seed.deserialize(Value(Cow::Owned(value)));
        read.map_err(|wrong| Wrong { field: wrong.field.or(Some(name)), ..wrong })
    }
}

/// One value: a text that may be a number or a truth value if one is wanted.
struct Value<'a>(Cow<'a, str>);

impl Value<'_> {
    fn number<T: std::str::FromStr>(&self, wanted: &dyn de::Expected) -> Result<T, Wrong> {
        let is_number = !self.0.is_empty() && self.0.bytes().all(|b| b.is_ascii_digit());
        match self.0.parse() {
            Ok(number) if is_number => Ok(number),
            _ if is_number => Err(de::Error::invalid_length(self.0.len(), wanted)),
            _ => Err(de::Error::invalid_type(Unexpected::Str(&self.0), wanted)),
        }
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty;)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            let number: $type = self.number(&visitor)?;
            visitor.$visit(number)
        }
    )+};
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_str(&self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &*self.0 {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            other => Err(de::Error::invalid_type(Unexpected::Str(other), &visitor)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let variant: StrDeserializer<'_, Wrong> = (*self.0).into_deserializer();
        visitor.visit_enum(variant)
    }

    numbers! {
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}
