//! A field that is not what it should be is as good as not there: it never costs the record it stands in.
//!
//! Formats of tools drift (FORMATS §8.11). These types read what is wanted, borrowed where it can be, and pass over all
//! else without building anything of it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Elements of one array that are taken.
const ELEMENTS_MAX: usize = crate::model::limits::ITEMS_MAX;

/// A text.
#[derive(Debug, Default)]
pub(super) struct Text<'a>(pub(super) Option<Cow<'a, str>>);

/// A number that is not negative.
#[derive(Debug, Default)]
pub(super) struct Number(pub(super) Option<u64>);

/// Whether it is `true`.
#[derive(Debug, Default)]
pub(super) struct Flag(pub(super) Option<bool>);

/// An object.
#[derive(Debug)]
pub(super) struct Maybe<T>(pub(super) Option<T>);

/// An array of objects; an element that is none is `None`.
#[derive(Debug)]
pub(super) struct Many<T>(pub(super) Option<Vec<Option<T>>>);

/// What a message says: one text, or blocks of text and other things.
#[derive(Debug, Default)]
pub(super) struct Content<'a>(pub(super) Vec<Block<'a>>);

/// One block of a message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Block<'a> {
    /// Its kind.
    #[serde(borrow)]
    pub(super) r#type: Text<'a>,
    /// What it says.
    #[serde(borrow)]
    pub(super) text: Text<'a>,
    /// The id of a call.
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    /// Which tool a call calls.
    #[serde(borrow)]
    pub(super) name: Text<'a>,
}

impl Text<'_> {
    /// The text, empty when there is none.
    pub(super) fn str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// The text, if there is one that is not empty.
    pub(super) fn get(&self) -> Option<&str> {
        self.0.as_deref().filter(|text| !text.is_empty())
    }
}

impl Number {
    /// The number, 0 when there is none.
    pub(super) fn get(&self) -> u64 {
        self.0.unwrap_or_default()
    }
}

impl Content<'_> {
    /// The first text in it that is not blank and not in tags: tools say things of their own in those.
    pub(super) fn typed(&self) -> Option<&str> {
        let texts = self.0.iter().filter(|block| matches!(block.r#type.str(), "" | "text" | "input_text" | "Text"));
        texts.filter_map(|block| block.text.get()).find(|text| !text.trim().is_empty() && !text.trim_start().starts_with('<'))
    }

    /// All its texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|block| block.text.get())
    }
}

impl<T> Default for Maybe<T> {
    fn default() -> Maybe<T> {
        Maybe(None)
    }
}

impl<T> Default for Many<T> {
    fn default() -> Many<T> {
        Many(None)
    }
}

/// What is not wanted is passed over.
macro_rules! else_nothing {
    ($($method:ident)*) => { $(else_nothing!(@ $method);)* };
    (@ visit_bool) => { fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> { Ok(Self::Value::default()) } };
    (@ visit_i64) => { fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> { Ok(Self::Value::default()) } };
    (@ visit_u64) => { fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> { Ok(Self::Value::default()) } };
    (@ visit_f64) => { fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> { Ok(Self::Value::default()) } };
    (@ visit_str) => { fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> { Ok(Self::Value::default()) } };
    (@ visit_unit) => { fn visit_unit<E>(self) -> Result<Self::Value, E> { Ok(Self::Value::default()) } };
    (@ visit_seq) => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
    (@ visit_map) => {
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
    (@ expecting) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("anything")
        }
    };
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
        struct Seen<'a>(PhantomData<&'a str>);
        impl<'de: 'a, 'a> Visitor<'de> for Seen<'a> {
            type Value = Text<'a>;
            else_nothing!(expecting visit_bool visit_i64 visit_u64 visit_f64 visit_unit visit_seq visit_map);
            fn visit_str<E>(self, text: &str) -> Result<Text<'a>, E> {
                Ok(Text(Some(Cow::Owned(text.to_owned()))))
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'a>, E> {
                Ok(Text(Some(Cow::Borrowed(text))))
            }
        }
        deserializer.deserialize_any(Seen(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        struct Seen;
        impl<'de> Visitor<'de> for Seen {
            type Value = Number;
            else_nothing!(expecting visit_bool visit_i64 visit_f64 visit_str visit_unit visit_seq visit_map);
            fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
                Ok(Number(Some(number)))
            }
        }
        deserializer.deserialize_any(Seen)
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Flag, D::Error> {
        struct Seen;
        impl<'de> Visitor<'de> for Seen {
            type Value = Flag;
            else_nothing!(expecting visit_i64 visit_u64 visit_f64 visit_str visit_unit visit_seq visit_map);
            fn visit_bool<E>(self, flag: bool) -> Result<Flag, E> {
                Ok(Flag(Some(flag)))
            }
        }
        deserializer.deserialize_any(Seen)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Maybe<T>, D::Error> {
        struct Seen<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Seen<T> {
            type Value = Maybe<T>;
            else_nothing!(expecting visit_bool visit_i64 visit_u64 visit_f64 visit_str visit_unit visit_seq);
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Maybe<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|object| Maybe(Some(object)))
            }
        }
        deserializer.deserialize_any(Seen(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Many<T>, D::Error> {
        struct Seen<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Seen<T> {
            type Value = Many<T>;
            else_nothing!(expecting visit_bool visit_i64 visit_u64 visit_f64 visit_str visit_unit visit_map);
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Many<T>, A::Error> {
                elements(seq).map(|elements| Many(Some(elements)))
            }
        }
        deserializer.deserialize_any(Seen(PhantomData))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Content<'a>, D::Error> {
        struct Seen<'a>(PhantomData<&'a str>);
        impl<'de: 'a, 'a> Visitor<'de> for Seen<'a> {
            type Value = Content<'a>;
            else_nothing!(expecting visit_bool visit_i64 visit_u64 visit_f64 visit_unit);
            fn visit_str<E>(self, text: &str) -> Result<Content<'a>, E> {
                Ok(Content(vec![Block { text: Text(Some(Cow::Owned(text.to_owned()))), ..Block::default() }]))
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Content<'a>, E> {
                Ok(Content(vec![Block { text: Text(Some(Cow::Borrowed(text))), ..Block::default() }]))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Content<'a>, A::Error> {
                Block::deserialize(MapAccessDeserializer::new(map)).map(|block| Content(vec![block]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Content<'a>, A::Error> {
                elements(seq).map(|blocks| Content(blocks.into_iter().flatten().collect()))
            }
        }
        deserializer.deserialize_any(Seen(PhantomData))
    }
}

fn elements<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(mut seq: A) -> Result<Vec<Option<T>>, A::Error> {
    let mut elements = Vec::new();
    while elements.len() < ELEMENTS_MAX {
        match seq.next_element::<Maybe<T>>()? {
            Some(element) => elements.push(element.0),
            None => return Ok(elements),
        }
    }
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct All<'a> {
        #[serde(borrow)]
        text: Text<'a>,
        number: Number,
        flag: Flag,
        #[serde(borrow)]
        object: Maybe<Block<'a>>,
        #[serde(borrow)]
        list: Many<Block<'a>>,
        #[serde(borrow)]
        content: Content<'a>,
    }

    #[test]
    fn what_is_something_else_is_not_there_and_costs_nothing() {
        for wrong in ["null", "true", "-1", "1.5", "7", r#""x""#, "[]", "[[[1]]]", "{}", r#"{"a":{"b":[1]}}"#, r#"{"type":[]}"#] {
            let text = format!(
                r#"{{"text":{wrong},"number":{wrong},"flag":{wrong},"object":{wrong},"list":{wrong},"content":{wrong},"other":{wrong}}}"#
            );
            let all: All<'_> = serde_json::from_str(&text).unwrap();
            assert_eq!(all.text.0.is_some(), wrong == r#""x""#, "{wrong}");
            assert_eq!(all.number.get() == 7, wrong == "7", "{wrong}");
            assert_eq!(all.flag.0 == Some(true), wrong == "true", "{wrong}");
            assert_eq!(all.object.0.is_some(), wrong.starts_with('{'), "{wrong}");
            assert_eq!(all.list.0.is_some(), wrong.starts_with('['), "{wrong}");
            assert_eq!(all.content.texts().next().is_some(), wrong == r#""x""#, "{wrong}");
        }
    }

    #[test]
    fn a_text_without_escapes_is_not_copied() {
        let all: All<'_> = serde_json::from_str(r#"{"text":"plain","content":[{"type":"text","text":"a\nb"},3]}"#).unwrap();
        assert!(matches!(all.text.0, Some(Cow::Borrowed("plain"))));
        assert_eq!(all.content.typed(), Some("a\nb"));
    }

    #[test]
    fn what_a_tool_puts_into_tags_was_not_typed() {
        let content = |json| serde_json::from_str::<Content<'_>>(json).unwrap();
        assert_eq!(
            content(r#"[{"type":"text","text":" <a>b</a>"},{"type":"thinking","text":"h"},{"type":"text","text":"do"}]"#).typed(),
            Some("do")
        );
        assert_eq!(content(r#""do""#).typed(), Some("do"));
        assert_eq!(content(r#"{"type":"text","text":"do"}"#).typed(), Some("do"));
    }
}
